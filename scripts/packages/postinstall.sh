#!/bin/sh
# After an installation or an upgrade: dpkg says `configure [OLD VERSION]`, rpm the number of versions that are there now.
set -e

case "$1" in
abort-*) exit 0 ;; # what was there before goes on
esac

# Its members may use the socket. As in sysusers.d/sandpool.conf, for hosts on which systemd-sysusers does not run now.
if ! getent group sandpool >/dev/null; then
	groupadd --system sandpool
fi

# Nothing to tell without systemd, as in an image that is being built.
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	# Only a daemon that runs is replaced. The socket stays, so clients wait instead of being refused; sandboxes stay with
	# containerd, and the new daemon adopts them. One that does not start is no reason to break the upgrade off half way.
	systemctl try-restart sandpoold.service || echo "sandpoold does not start: see systemctl status sandpoold" >&2
fi
