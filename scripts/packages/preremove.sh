#!/bin/sh
# Before a removal: dpkg says `remove`, rpm 0. An upgrade stops nothing here: postinstall.sh restarts.
set -e

case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		# With on_stop = "keep" the sandboxes stay in containerd.
		systemctl disable --now sandpoold.socket sandpoold.service || true
	fi
	;;
esac
