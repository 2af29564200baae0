#!/usr/bin/env bash
# Builds what the project runs on, from modules pinned in scripts/stack, into .build; what is up to date stays.
#
#   scripts/stack.sh           containerd, ctr, runsc, containerd-shim-runsc-v1 and the project's own shim
#   scripts/stack.sh shim      the project's own shim alone
#   scripts/stack.sh lint      golangci-lint, and shellcheck from Debian
#   scripts/stack.sh busybox   the static busybox that the default image is made of
#   scripts/stack.sh python    the files of CPython 3 and uuidgen, which the tests' second image adds to busybox, from Debian
#   scripts/stack.sh buildkit  buildkitd and buildctl, and runc and mmdebstrap from Debian, which build images: see scripts/images.sh
#   scripts/stack.sh prometheus  Prometheus, and promtool, which checks metrics and alerts, from Debian
#   scripts/stack.sh systemd   the systemd that the tests of the units boot, from Debian
#   scripts/stack.sh tmux      tmux, the terminal in which `sandpool top` is tested, from Debian
#   scripts/stack.sh examples  Python and Node.js, by which the examples of the API are tested, from Debian
#   scripts/stack.sh nfpm      nfpm, which makes the packages: see scripts/packages.sh
#   scripts/stack.sh debian    what tests the packages, from Debian
#   scripts/stack.sh race      the C compiler that the race detector needs, from Debian
#
# With SANDPOOL_STACK=/a/folder the four programs there, such as official builds, are checked and used instead.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

readonly stack=$root/.build/stack images=$root/.build/images
readonly -A modules=([shim]=gvisor) # that build the parts whose names are not theirs
export CGO_ENABLED=0 GOWORK=off GOFLAGS=

say() { printf 'stack: %s\n' "$*"; }

die() {
	printf 'stack: %s\n' "$*" >&2
	exit 1
}

# stamp PART: what the part is made by, as one line: its functions here and, of what is built, Go, the module's requirements and its own
# code. So an edit to one part makes no other part anew.
stamp() {
	local module=scripts/stack/${modules[$1]-$1}
	if [[ -d $module ]]; then
		go version
		declare -f "build_$1" build
		cat "$module"/go.{mod,sum}
		find "$module" -name '*.go' -exec cat {} +
	else
		declare -f "fetch_$1" libraries
	fi | sha256sum
}

# fresh PART FILE...: whether the files are there and were made by the part as it is now.
fresh() {
	local part=$1 file
	shift
	for file; do [[ -e $file ]] || return 1; done
	[[ -f $stack/.$part && $(<"$stack/.$part") == "$(stamp "$part")" ]]
}

# made PART: notes that the part's files are what its stamp says.
made() { stamp "$1" >"$stack/.$1"; }

# version MODULE PATH: the pinned version of a Go module. sum MODULE PATH: its checksum.
version() { go list -C "scripts/stack/$1" -m -f '{{.Version}}' "$2"; }
sum() { awk -v path="$2" '$1 == path && $2 !~ /go.mod$/ { print $3; exit }' "scripts/stack/$1/go.sum"; }

# build MODULE PROGRAM PACKAGE [FLAG...]: a program under its own name; it takes its place whole, as others may be running it.
build() {
	local module=$1 program=$2 package=$3 start=$SECONDS
	shift 3
	go build -C "scripts/stack/$module" -trimpath "$@" -o "$stack/.new-$program" "$package"
	mv "$stack/.new-$program" "$stack/$program"
	say "built $program ($((SECONDS - start)) s)"
}

build_containerd() {
	fresh containerd "$stack"/{containerd,ctr} && return
	local path=github.com/containerd/containerd/v2 version flags program
	version=$(version containerd $path)
	say "building containerd $version; the first time takes minutes"
	# The module proxy does not tell the commit; the module's checksum names the source as well.
	flags="-s -w -X $path/version.Version=$version -X $path/version.Revision=$(sum containerd $path)"
	for program in containerd ctr; do
		# Without CRI it builds and starts in half the time; the project does not use it.
		build containerd $program $path/cmd/$program -tags no_cri,no_tracing,no_devmapper,no_zfs -ldflags "$flags"
	done
	made containerd
}

# build_gvisor builds runsc with a main program of the project's own, which differs in when Go collects garbage.
build_gvisor() {
	fresh gvisor "$stack"/{runsc,containerd-shim-runsc-v1} && return
	local path=gvisor.dev/gvisor version date
	version=$(version gvisor $path) # v0.0.0-TIME-COMMIT
	date=${version#v0.0.0-}
	date=${date:0:8}-${version##*-}
	say "building gVisor $date"
	build gvisor runsc ./runsc -ldflags "-s -w -X $path/runsc/version.version=$date"
	build gvisor containerd-shim-runsc-v1 $path/shim -ldflags '-s -w'
	made gvisor
}

# build_shim builds gVisor's shim once more, as the project's own: containerd's library in it frees memory only when there is some.
build_shim() {
	fresh shim "$stack/containerd-shim-sandpool-v1" && return
	local path=github.com/containerd/containerd/v2 copy=$stack/.shim.d original
	original=$(go mod download -C scripts/stack/gvisor -json "$path@$(version gvisor $path)" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	rm -rf "$copy"
	mkdir "$copy"
	cp -r --no-preserve=mode "$original/." "$copy"
	cp scripts/stack/gvisor/shim/free.go "$copy/pkg/shim/"
	sed -i 's/\tdebug\.FreeOSMemory()$/\tfreeMemory()/' "$copy/pkg/shim/shim.go"
	[[ $(diff "$original/pkg/shim/shim.go" "$copy/pkg/shim/shim.go" | grep -c '^>') == 1 ]] || die "containerd's shims do not free memory at one place"
	mkdir "$copy/.build"
	cp scripts/stack/gvisor/go.{mod,sum} "$copy/.build"
	go mod edit -replace "$path=../../../.build/stack/${copy##*/}" "$copy/.build/go.mod" # as it is told by the program, whoever built it
	build gvisor containerd-shim-sandpool-v1 gvisor.dev/gvisor/shim -modfile "$copy/.build/go.mod" -ldflags '-s -w'
	rm -rf "$copy"
	made shim
}

build_lint() {
	fresh lint "$stack/golangci-lint" && return
	local path=github.com/golangci/golangci-lint/v2
	say "building golangci-lint $(version lint $path)"
	build lint golangci-lint $path/cmd/golangci-lint -ldflags "-s -w -X main.version=$(version lint $path)"
	made lint
}

build_nfpm() {
	fresh nfpm "$stack/nfpm" && return
	local path=github.com/goreleaser/nfpm/v2
	say "building nfpm $(version nfpm $path)"
	build nfpm nfpm $path/cmd/nfpm -ldflags '-s -w'
	made nfpm
}

build_buildkit() {
	fresh buildkit "$stack"/{buildkitd,buildctl} && return
	local path=github.com/moby/buildkit program
	say "building BuildKit $(version buildkit $path); the first time takes minutes"
	for program in buildkitd buildctl; do
		build buildkit $program $path/cmd/$program -ldflags '-s -w'
	done
	made buildkit
}

# check_host: whether the programs in SANDPOOL_STACK are there and new enough.
check_host() {
	local program missing=()
	for program in containerd ctr runsc containerd-shim-runsc-v1; do
		[[ -x $SANDPOOL_STACK/$program ]] || missing+=("$program")
	done
	((${#missing[@]} == 0)) || die "SANDPOOL_STACK=$SANDPOOL_STACK lacks ${missing[*]}"
	local containerd runsc
	containerd=$("$SANDPOOL_STACK/containerd" --version)
	runsc=$("$SANDPOOL_STACK/runsc" --version | head -n 1)
	[[ $containerd =~ \ v?([2-9]|[1-9][0-9])\.[0-9] ]] ||
		die "$SANDPOOL_STACK/containerd is too old or tells no version: want 2.0 or later, have: $containerd"
	[[ $runsc =~ 20[0-9]{6} ]] || die "$SANDPOOL_STACK/runsc tells no date: want an official release, have: $runsc"
	say "using $SANDPOOL_STACK: $containerd; $runsc"
}

# apt COMMAND ARG...: apt-get, with package lists fetched if it fails without.
apt() {
	local get=(apt-get --quiet=2 -o APT::Sandbox::User=root)
	command -v apt-get >/dev/null || die "no apt-get here: install $* by hand"
	DEBIAN_FRONTEND=noninteractive "${get[@]}" "$@" >/dev/null 2>&1 && return
	"${get[@]}" update
	DEBIAN_FRONTEND=noninteractive "${get[@]}" "$@" >/dev/null
}

# fetch_busybox takes the program out of Debian's package without installing it, which would remove the package busybox.
fetch_busybox() {
	fresh busybox "$images/busybox" && return
	local start=$SECONDS dir
	dir=$(mktemp -d "$images/.busybox-XXXXXX")
	(cd "$dir" && apt download busybox-static && dpkg-deb -x ./*.deb .)
	mv "$dir/bin/busybox" "$images/busybox"
	rm -rf "$dir"
	made busybox
	say "fetched busybox-static ($((SECONDS - start)) s)"
}

# fetch_prometheus takes the programs out of Debian's package without installing it, which would start a service.
fetch_prometheus() {
	fresh prometheus "$stack"/{promtool,prometheus} && return
	local start=$SECONDS dir
	dir=$(mktemp -d "$stack/.prometheus-XXXXXX")
	(cd "$dir" && apt download prometheus && dpkg-deb -x ./*.deb .)
	mv "$dir"/usr/bin/{promtool,prometheus} "$stack/"
	rm -rf "$dir"
	made prometheus
	say "fetched prometheus ($((SECONDS - start)) s)"
}

# libraries PACKAGE...: the packages of libraries that the packages depend on.
libraries() { apt-cache depends "$@" | sed -nE 's/^[ |]*(Pre)?Depends: (z?lib[^ ]+)$/\2/p'; }

# fetch_python takes the files out of Debian's packages without installing them. The libraries' own libraries are enough:
# what lies deeper is for modules that nothing here imports.
fetch_python() {
	fresh python "$images/python" && return
	local start=$SECONDS dir python deb top programs needed
	dir=$(mktemp -d "$images/.python-XXXXXX")
	mkdir -m 755 "$dir/root"
	cd "$dir"
	apt download python3-minimal libpython3-stdlib uuid-runtime
	python=$(apt-cache depends python3-minimal | sed -nE 's/.*Depends: (python3\.[0-9]+)-minimal$/\1/p')
	programs=("$python-minimal" "lib$python-minimal" "lib$python-stdlib")
	mapfile -t needed < <(libraries "${programs[@]}" | sort -u)
	mapfile -t needed < <(printf '%s\n' "${needed[@]}" "${programs[@]}" "$(libraries "${needed[@]}")" | sort -u)
	apt download "${needed[@]}"
	for deb in ./*.deb; do dpkg-deb -x "$deb" root; done
	# The loader is looked for in /lib or /lib64, which newer packages leave to links.
	for top in lib lib64; do [[ -e root/$top || ! -e root/usr/$top ]] || ln -s "usr/$top" "root/$top"; done
	rm -rf root/usr/share root/usr/lib/*/gconv root/usr/lib/systemd root/lib/systemd root/etc/init.d root/var
	cd "$root"
	rm -rf "$images/python"
	mv "$dir/root" "$images/python"
	rm -rf "$dir"
	made python
	say "fetched $python ($((SECONDS - start)) s)"
}

# need PROGRAM PACKAGE...: installs the packages unless the program is there.
need() {
	command -v "$1" >/dev/null && return
	local start=$SECONDS
	apt install --yes --no-install-recommends "${@:2}"
	say "installed $1 ($((SECONDS - start)) s)"
}

mkdir -p "$stack" "$images"
exec 9>"$root/.build/lock"
flock 9
case ${1-stack} in
stack)
	if [[ -n ${SANDPOOL_STACK-} ]]; then
		check_host
	else
		build_containerd
		build_gvisor
		build_shim
	fi
	;;
shim) build_shim ;;
lint)
	build_lint
	need shellcheck shellcheck
	;;
buildkit)
	build_buildkit
	need runc runc
	need mmdebstrap mmdebstrap
	;;
nfpm) build_nfpm ;;
debian)
	need mandoc mandoc
	need lintian lintian
	need rpm rpm
	need mmdebstrap mmdebstrap
	;;
busybox) fetch_busybox ;;
python) fetch_python ;;
prometheus) fetch_prometheus ;;
systemd)
	need systemd-analyze systemd
	need curl curl
	;;
tmux) need tmux tmux ;;
examples)
	need python3 python3
	need node nodejs
	;;
race) need gcc gcc libc6-dev ;;
*) die "unknown part $1: want shim, lint, buildkit, nfpm, debian, busybox, python, prometheus, systemd, tmux, examples, race or none" ;;
esac
