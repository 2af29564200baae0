#!/usr/bin/env bash
# Makes the manual and the shells' completion in .build/share, from the commands and the configuration themselves.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$1 share=.build/share
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

rm -rf "$share"
mkdir -p "$share/man"
go run -tags manual -ldflags "-X main.version=$version" ./cmd/sandpool "$share/man"
cp cmd/sandpoold/sandpoold.8 "$share/man/"
# A backslash starts an escape in a page; a dot or a quote at the start of a line, a request.
sed -E "s/\\\\/\\\\e/g; s/^([.'])/\\\\\&\1/" configs/sandpoold.toml |
	sed -e '/^@SAMPLE@$/{r /dev/stdin' -e 'd;}' configs/sandpoold.toml.5 >"$share/man/sandpoold.toml.5"
gzip -9n "$share"/man/*
.build/bin/sandpool completion bash >"$share/sandpool.bash"
.build/bin/sandpool completion zsh >"$share/_sandpool"
.build/bin/sandpool completion fish >"$share/sandpool.fish"
