#!/usr/bin/env bash
# Tests what `make install` and `make packages` made, as root: in a folder, and in a Debian of its own that is removed again.
# Each line of output is one thing that holds; the first that does not ends the script.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

readonly packages=$PWD/.build/packages
work=$(mktemp -d)
chmod 755 "$work" # apt reads packages as a user of its own
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'echo "FAILED: line $LINENO: $BASH_COMMAND" >&2' ERR

holds() { printf 'ok  %s\n' "$*"; }

# same WHAT FILE FILE
same() {
	diff -u "$2" "$3" || {
		echo "FAILED: $1 differ" >&2
		exit 1
	}
	holds "$1 are the same"
}

# leftovers ROOT: what is called after the project in there. Only the package managers' own records do not count.
leftovers() { find "$1" -xdev \( -path "$1/var/lib/dpkg" -o -path "$1/var/lib/rpm" -o -path "$1/proc" \) -prune -o -name '*sandpool*' -print; }

test_install() {
	local root=$work/install prefix
	for prefix in /usr/local /opt/sand; do
		DESTDIR=$root PREFIX=$prefix scripts/install.sh install
		"$root$prefix/bin/sandpool" version >/dev/null
		"$root$prefix/bin/sandpoold" --check-config "$root/etc/sandpool/sandpoold.toml" >/dev/null
		grep -q "^ExecStart=$prefix/bin/sandpoold" "$root$prefix/lib/systemd/system/sandpoold.service"
		grep -q "^init = \"$prefix/libexec/sandpool/sandpool-init\"" "$root/etc/sandpool/sandpoold.toml"
		[[ -x $root$prefix/libexec/sandpool/sandpool-init && -x $root$prefix/bin/containerd-shim-sandpool-v1 ]]
		diff <(cd "$root" && find . -type f ! -path './etc/*' ! -name installed ! -path '*/doc/sandpool/sandpoold.toml' | sort) \
			<(sed 's/^/./' "$root$prefix/share/doc/sandpool/installed" | sort)
		DESTDIR=$root PREFIX=$prefix scripts/install.sh uninstall
		[[ -z $(find "$root" ! -type d) && -z $(leftovers "$root") ]]
		holds "install and uninstall below $prefix leave nothing"
	done

	DESTDIR=$root scripts/install.sh install
	echo '# mine' >>"$root/etc/sandpool/sandpoold.toml"
	DESTDIR=$root scripts/install.sh install >/dev/null
	DESTDIR=$root scripts/install.sh uninstall >/dev/null
	[[ $(find "$root" ! -type d) == "$root/etc/sandpool/sandpoold.toml" ]]
	grep -q '# mine' "$root/etc/sandpool/sandpoold.toml"
	holds "a configuration that was changed survives install and uninstall"
}

test_manual() {
	local page found=0
	for page in .build/share/man/*.gz; do
		gzip -dc "$page" >"$work/page"
		mandoc -T lint -W error "$work/page"
		found=$((found + 1))
	done
	((found > 20))
	holds "$found pages of the manual are sound"
	bash -n .build/share/sandpool.bash
	bash -c 'source .build/share/sandpool.bash; complete -p sandpool' >/dev/null
	holds "bash takes the completion"
}

# test_alike: the .rpm holds what the .deb holds, but for two files of Debian's own.
test_alike() {
	dpkg-deb -c "$packages"/*.deb | awk '$1 !~ /^d/ { print substr($6, 2), substr($1, 1, 10), $3 }' |
		grep -v -e /lintian/ -e /vendor-completions/ -e changelog.Debian | sort >"$work/deb"
	rpm -qp --queryformat '[%{FILENAMES} %{FILEMODES:perms} %{FILESIZES}\n]' "$packages"/*.rpm | grep -v ' d' | sort >"$work/rpm"
	same "files, modes and sizes of the .deb and the .rpm" "$work/deb" "$work/rpm"
	[[ $(rpm -qp --configfiles "$packages"/*.rpm) == /etc/sandpool/sandpoold.toml ]]
	holds "the configuration is the .rpm's only configuration file"
	lintian --allow-root --fail-on error,warning "$packages"/*.deb
	holds "lintian finds no error and no warning"
}

# debian makes a minimal root of a Debian, with a systemctl that writes down what it is told.
debian() {
	mmdebstrap --quiet --variant=apt --include=passwd --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$work/debian"
	mkdir -p "$work/debian/run/systemd/system"
	printf '#!/bin/sh\necho "$*" >>/systemctl.log\n' >"$work/debian/usr/bin/systemctl"
	chmod 755 "$work/debian/usr/bin/systemctl"
}

inside() { LC_ALL=C.UTF-8 chroot "$work/debian" "$@"; }

# told: what systemctl was told since the last time.
told() {
	paste -s -d ';' "$work/debian/systemctl.log" 2>/dev/null || true
	rm -f "$work/debian/systemctl.log"
}

# newer VERSION: the .deb under another version, with another default configuration.
newer() {
	dpkg-deb -R "$packages"/*.deb "$work/newer"
	sed -i "s/^Version:.*/Version: $1/" "$work/newer/DEBIAN/control"
	echo '# a new default' >>"$work/newer/etc/sandpool/sandpoold.toml"
	dpkg-deb -Zgzip -z1 -b "$work/newer" "$work/debian/newer-$1.deb" >/dev/null
	rm -r "$work/newer"
}

# deb FILE: installs it as unattended upgrades do.
deb() { inside dpkg --force-confdef --force-confold -i "/$1" >/dev/null; }

test_deb() {
	local root=$work/debian config=$work/debian/etc/sandpool/sandpoold.toml
	cp "$packages"/*.deb "$root/first.deb"
	deb first.deb
	inside getent group sandpool >/dev/null
	inside sandpool version >/dev/null
	inside sandpoold --check-config >/dev/null
	inside dpkg-query -W -f "\${Conffiles}\n" sandpool | grep -q '^ /etc/sandpool/sandpoold.toml '
	[[ $(stat -c '%a %U %G' "$root/usr/bin/sandpoold" "$config" | paste -s -d ,) == "755 root root,644 root root" ]]
	[[ $(told) == 'daemon-reload;try-restart sandpoold.service' ]]
	holds "the .deb is installed: files, group, conffile"

	newer 8
	deb newer-8.deb
	grep -q '# a new default' "$config"
	[[ $(told) == 'daemon-reload;try-restart sandpoold.service' ]]
	holds "an upgrade renews a configuration that nobody changed, restarts the daemon if it runs, and stops nothing"

	echo '# mine' >>"$config"
	newer 9
	sed -i 's/# a new default/# an edited default/' "$config"
	deb newer-9.deb
	grep -q '# mine' "$config"
	told >/dev/null
	holds "an upgrade keeps a configuration that was changed"

	mkdir -p "$root/var/lib/sandpool/checkpoints/ck-1"
	inside dpkg -r sandpool >/dev/null
	[[ -e $root/var/lib/sandpool/checkpoints/ck-1 && -e $config && ! -e $root/usr/bin/sandpoold ]]
	[[ $(told) == 'disable --now sandpoold.socket sandpoold.service;daemon-reload' ]]
	holds "removal leaves state and configuration, and stops the units"

	inside dpkg -P sandpool >/dev/null
	[[ -z $(leftovers "$root") ]]
	[[ -z $(inside getent group sandpool || true) ]]
	told >/dev/null
	holds "purge leaves nothing"
}

# pasted HEADING: the commands below a heading of docs/install.md, up to the first that needs containerd.
pasted() {
	awk -v heading="## $1" '/^## / { on = $0 == heading } /^```/ { code = on && /sh$/; next } on && code && /^ctr / { exit } on && code' docs/install.md
}

test_docs() {
	local root=$work/debian heading
	mkdir -p "$root/.build/packages" "$root/var/lib/sandpool"
	cp "$packages"/*.deb "$root/.build/packages/"
	for heading in "The package" Upgrade Remove; do
		[[ -n $(pasted "$heading") ]]
		pasted "$heading" | inside bash -e >"$work/pasted" 2>&1 || {
			cat "$work/pasted"
			false
		}
		[[ $heading == Remove || -x $root/usr/bin/sandpoold ]]
		told >/dev/null
	done
	rm -r "$root/.build"
	[[ -z $(leftovers "$root") ]]
	holds "the commands of docs/install.md install, upgrade and remove"
}

test_rpm() {
	local root=$work/debian
	rpm --root "$root" --nodeps -i "$packages"/*.rpm
	inside getent group sandpool >/dev/null
	inside sandpoold --check-config >/dev/null
	echo '# mine' >>"$root/etc/sandpool/sandpoold.toml"
	mkdir -p "$root/var/lib/sandpool"
	told >/dev/null
	rpm --root "$root" --nodeps -U --force "$packages"/*.rpm
	grep -q '# mine' "$root/etc/sandpool/sandpoold.toml"
	[[ $(told) != *disable* ]]
	rpm --root "$root" --nodeps -e sandpool 2>/dev/null
	[[ -d $root/var/lib/sandpool && ! -e $root/usr/bin/sandpoold ]]
	grep -q '# mine' "$root/etc/sandpool/sandpoold.toml.rpmsave"
	holds "the .rpm is installed, replaced and removed; state and a configuration that was changed stay"
}

test_install
test_manual
test_alike
debian
test_deb
test_docs
test_rpm
echo "all of it holds, $SECONDS s"
