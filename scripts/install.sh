#!/usr/bin/env bash
# Installs what `make build share` and `scripts/stack.sh shim` made, below DESTDIR, or removes it again.
#
#   scripts/install.sh install     a configuration that was changed stays as it is
#   scripts/install.sh uninstall   the same, and whatever the daemon wrote stays too
#
# PREFIX is /usr/local unless it is set. The configuration is in /etc whatever it is. What was installed is listed in share/doc.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly prefix=${PREFIX:-/usr/local} root=${DESTDIR-}
readonly config=$root/etc/sandpool/sandpoold.toml doc=$root$prefix/share/doc/sandpool
readonly list=$doc/installed
readonly default=$doc/sandpoold.toml # the configuration as it was installed, which tells whether the one in /etc was changed

# files tells what is installed: mode, source and target of each. The default configuration comes on top.
files() {
	local bin=.build/bin share=.build/share page file
	echo 755 $bin/sandpool "$prefix/bin/sandpool"
	echo 755 $bin/sandpoold "$prefix/bin/sandpoold"
	echo 755 $bin/sandpool-init "$prefix/libexec/sandpool/sandpool-init"
	echo 755 .build/stack/containerd-shim-sandpool-v1 "$prefix/bin/containerd-shim-sandpool-v1" # in containerd's PATH
	echo 644 systemd/sandpoold.service "$prefix/lib/systemd/system/sandpoold.service"
	echo 644 systemd/sandpoold.socket "$prefix/lib/systemd/system/sandpoold.socket"
	echo 644 systemd/sandpool.sysusers "$prefix/lib/sysusers.d/sandpool.conf"
	echo 644 $share/sandpool.bash "$prefix/share/bash-completion/completions/sandpool"
	echo 644 $share/_sandpool "$prefix/share/zsh/site-functions/_sandpool"
	echo 644 $share/sandpool.fish "$prefix/share/fish/vendor_completions.d/sandpool.fish"
	echo 644 LICENSE "$prefix/share/doc/sandpool/LICENSE"
	echo 644 README.md "$prefix/share/doc/sandpool/README.md"
	for page in docs/*.* docs/examples/*; do echo 644 "$page" "$prefix/share/doc/sandpool/$page"; done
	for file in configs/prometheus/{rules,scrape}.yml configs/grafana/sandpool.json; do echo 644 "$file" "$prefix/share/doc/sandpool/$file"; done
	for page in "$share"/man/*.gz; do
		echo 644 "$page" "$prefix/share/man/man$(sed -E 's/.*\.([0-9])\.gz$/\1/' <<<"$page")/${page##*/}"
	done
}

# placed FILE: its text with the paths that PREFIX moves.
placed() { sed -E "s#/usr/local/bin/sandpool#$prefix/bin/sandpool#g; s#/usr/libexec/sandpool/#$prefix/libexec/sandpool/#g" "$1"; }

install_all() {
	local mode from to
	while read -r mode from to; do
		install -D -m "$mode" "$from" "$root$to"
		[[ $from != systemd/*.service ]] || placed "$from" >"$root$to"
	done < <(files)
	if [[ ! -e $config ]] || cmp -s "$config" "$default"; then
		install -D -m 644 <(placed configs/sandpoold.toml) "$config"
	else
		echo "kept $config, which was changed; $default is the new default"
	fi
	install -D -m 644 <(placed configs/sandpoold.toml) "$default"
	install -D -m 644 <(files | cut -d ' ' -f 3) "$list"
}

uninstall_all() {
	local to
	if cmp -s "$config" "$default"; then
		rm -f "$config"
	elif [[ -e $config ]]; then
		echo "kept $config, which was changed"
	fi
	[[ ! -e $list ]] || while read -r to; do rm -f "$root$to"; done <"$list"
	rm -f "$default" "$list"
	# Only folders of our own, and only empty ones.
	for to in "$doc"/docs{/examples,} "$doc"/configs/{prometheus,grafana} "$doc/configs" "$doc" "$root$prefix/libexec/sandpool" "$root/etc/sandpool"; do
		[[ ! -d $to ]] || rmdir --ignore-fail-on-non-empty "$to"
	done
}

case ${1-} in
install) install_all ;;
uninstall) uninstall_all ;;
*)
	sed -n '/^#   /s/^#  *//p' "$0" >&2
	exit 1
	;;
esac
