#!/usr/bin/env bash
# Builds sandpool's .deb and .rpm in .build/packages, out of what `make install` installs.
#
#   scripts/packages.sh VERSION    as git describe tells it: v1.2.3, v1.2.3-4-gabc, or a commit alone
set -euo pipefail
cd "$(dirname "$0")/.."

readonly out=.build/packages

# package_version VERSION: one that dpkg and rpm both take and sort rightly: it starts with a digit and has no dash. What comes
# after a tag is newer than it, a release candidate older; what has no tag is older than all releases, and sorted by its time.
package_version() {
	local version=${1#v}
	[[ $version =~ ^[0-9]+\. ]] || version=0.0.0-$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S).$version
	version=${version/-rc/\~rc}
	echo "${version//-/+}"
}

# changelog: the last changes in the form that Debian's tools read.
changelog() {
	printf 'sandpool (%s-1) unstable; urgency=medium\n\n' "$VERSION"
	git log --no-merges -n 50 --format='%w(78,2,4)* %s' 2>/dev/null || true
	printf '\n -- The sandpool developers <sandpool@localhost>  %s\n' "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

# stage: fills $ROOT with what the packages hold.
stage() {
	rm -rf "$ROOT"
	DESTDIR=$ROOT PREFIX=/usr scripts/install.sh install
	rm "$ROOT/usr/share/doc/sandpool/installed" # the package manager's job
	rm "$ROOT/usr/share/doc/sandpool/LICENSE"   # common to all packages in Debian, and named there
	install -m 644 scripts/packages/copyright "$ROOT/usr/share/doc/sandpool/copyright"
	changelog | gzip -9n >"$ROOT.changelog.gz"
}

main() {
	local kind
	SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s) # of the files: the same build makes the same packages
	VERSION=$(package_version "$1")
	ARCH=$(go env GOARCH)
	ROOT=$out/root
	export VERSION ARCH ROOT SOURCE_DATE_EPOCH
	mkdir -p "$out"
	rm -f "$out"/*.deb "$out"/*.rpm
	stage
	for kind in deb rpm; do
		.build/stack/nfpm package --config scripts/packages/nfpm.yaml --packager $kind --target "$out"
	done
}

main "$1"
