#!/usr/bin/env bash
# Builds the project's images with BuildKit into .build/images/NAME.tar; what is up to date stays.
#
#   scripts/images.sh NAME...             base, sandbox, production, python-git, clients, or a template of images/templates
#   scripts/images.sh --upstream NAME...  the same on the ubuntu:22.04 of its registry, rather than on a stand-in made of Debian's packages
#
# All are FROM ubuntu:22.04 or from another of these. Without a registry a Debian 12 made by mmdebstrap stands in for it.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

readonly built=$root/.build/images work=$root/.build/buildkit stack=$root/.build/stack
readonly ca=/etc/ssl/certs/ca-certificates.crt

say() { printf 'images: %s\n' "$*"; }

upstream=
if [[ ${1-} == --upstream ]]; then
	upstream=1
	shift
fi

# folder NAME: where the image's Dockerfile is.
folder() {
	local dir
	for dir in "images/$1" "images/templates/$1"; do
		[[ -f $dir/Dockerfile ]] && printf '%s' "$dir" && return
	done
	printf 'images: no image %s: there is no images/%s/Dockerfile and no images/templates/%s/Dockerfile\n' "$1" "$1" "$1" >&2
	return 1
}

# parents NAME: the images of ours that the image is made from.
parents() {
	if [[ $1 != production ]] && grep -qE '(FROM|--from=)[ ]?production( |$)' "$(folder "$1")/Dockerfile"; then
		echo production
	fi
}

# stamp NAME: what the image depends on, as one line: its files, its parents, and what of this script makes it.
stamp() {
	local dir parent
	dir=$(folder "$1")
	{
		printf '%s\n' "${upstream:-debian}"
		declare -f layout build
		[[ -n $upstream ]] || declare -f stand_in
		find "$dir" -type f -print0 | sort -z | xargs -0 sha256sum
		for parent in $(parents "$1"); do stamp "$parent"; done
	} | sha256sum
}

# layout ARCHIVE NAME: unpacks an OCI archive to a folder of that name and prints the digest of what is in it.
layout() {
	local dir=$work/layouts/$2
	rm -rf "$dir"
	mkdir -p "$dir"
	tar -C "$dir" -xf "$1"
	sed -nE 's/.*"digest":"(sha256:[0-9a-f]{64})".*/\1/p' "$dir/index.json" | head -n 1
}

# stand_in makes the image that takes the place of ubuntu:22.04.
stand_in() {
	local archive=$built/debian.tar start=$SECONDS made
	made=$(declare -f stand_in | sha256sum)
	[[ -s $archive && -f $built/.debian.stamp && $(<"$built/.debian.stamp") == "$made" ]] && return
	say "making a Debian that stands in for ubuntu:22.04"
	mmdebstrap --quiet --variant=minbase --include=ca-certificates \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-include=/usr/share/locale/locale.alias' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/info/*' \
		bookworm "$work/debian.tar"
	.build/bin/mkimage -layer "$work/debian.tar" -name sandpool.local/debian:12 -o "$archive"
	rm "$work/debian.tar"
	printf '%s\n' "$made" >"$built/.debian.stamp"
	say "made it ($((SECONDS - start)) s)"
}

daemon=
# stop ends the BuildKit that start began.
stop() {
	[[ -z $daemon ]] && return
	kill "$daemon" 2>/dev/null || true
	wait "$daemon" || true
	daemon=
}

start() {
	[[ -n $daemon ]] && return
	trap stop EXIT
	trap 'exit 130' INT TERM HUP
	"$stack/buildkitd" --root "$work/root" --addr "unix://$work/sock" --containerd-worker=false \
		--oci-worker-snapshotter=overlayfs --oci-worker-net=host >"$work/log" 2>&1 &
	daemon=$!
	local tries
	for ((tries = 0; tries < 300; tries++)); do
		"$stack/buildctl" --addr "unix://$work/sock" debug workers >/dev/null 2>&1 && return
		kill -0 "$daemon" || break
		sleep 0.1
	done
	tail -n 20 "$work/log" >&2
	say "BuildKit does not start" >&2
	exit 1
}

# build NAME: the image, and before it those that it is made from.
build() {
	local name=$1 dir parent digest begun=$SECONDS args=()
	dir=$(folder "$name")
	for parent in $(parents "$name"); do build "$parent"; done
	[[ -s $built/$name.tar && -f $built/.$name.stamp && $(<"$built/.$name.stamp") == "$(stamp "$name")" ]] && return
	scripts/stack.sh buildkit
	start
	if [[ -z $upstream ]]; then
		stand_in
		digest=$(layout "$built/debian.tar" debian)
		args+=(--oci-layout "debian=$work/layouts/debian" --opt "context:ubuntu:22.04=oci-layout://debian@$digest")
	fi
	for parent in $(parents "$name"); do
		digest=$(layout "$built/$parent.tar" "$parent")
		args+=(--oci-layout "$parent=$work/layouts/$parent" --opt "context:$parent=oci-layout://$parent@$digest")
	done
	[[ -s $ca ]] && args+=(--secret "id=extra_ca,src=$ca")
	[[ $name == base && -z $upstream ]] && args+=(--local "go=$(go env GOROOT)" --opt context:go=local:go)
	say "building $name"
	if ! "$stack/buildctl" --addr "unix://$work/sock" build --frontend dockerfile.v0 --progress plain \
		--local "context=$dir" --local "dockerfile=$dir" "${args[@]}" \
		--output "type=oci,dest=$work/$name.tar,name=sandpool.local/$name:1" >"$work/$name.log" 2>&1; then
		tail -n 40 "$work/$name.log" >&2
		say "$name could not be built: all of the output is in $work/$name.log" >&2
		exit 1
	fi
	go run ./scripts/imagesize -budgets images/budgets.toml "$work/$name.tar"
	mv "$work/$name.tar" "$built/$name.tar"
	stamp "$name" >"$built/.$name.stamp"
	say "built $name ($((SECONDS - begun)) s)"
}

mkdir -p "$built" "$work"
exec 8>"$work/lock"
flock 8
for name; do build "$name"; done
