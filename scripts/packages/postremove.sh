#!/bin/sh
# After a removal, which leaves state and configuration, and after dpkg's purge, which leaves nothing. rpm knows no purge.
set -e

case "$1" in
remove | purge | 0)
	if [ -d /run/systemd/system ]; then
		systemctl daemon-reload || true
	fi
	;;
esac

if [ "$1" = purge ]; then
	rm -rf /var/lib/sandpool /var/log/sandpool /run/sandpool
	rm -rf /etc/systemd/system/sandpoold.service.d /etc/systemd/system/sandpoold.socket.d
	rmdir /etc/sandpool 2>/dev/null || true
	if getent group sandpool >/dev/null; then
		groupdel sandpool || true # stays as long as it is somebody's primary group
	fi
fi
