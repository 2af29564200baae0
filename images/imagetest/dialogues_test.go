//go:build images

package imagetest

import "sandpool/scripts/outside"

// dialogue is a client, what it is told to do in the sandbox's shell, and what it says then.
type dialogue struct{ client, command, want string }

// page is what the server of a name says to a GET of /x.
func page(name string) string { return "hello from " + name + ": GET /x of 0 bytes" }

const (
	example = "www.example.com"
	sshHere = "ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes "
)

// aptHere has apt keep its files in a folder of its own, so that an ordinary user may use it.
var aptHere = `cd "$(mktemp -d)" && mkdir -p state/lists/partial cache/archives/partial && touch status && echo 'deb [trusted=yes] http://` + outside.Debian + `/debian stable main' >list &&
		set -- -q -o Dir::State=$PWD/state -o Dir::State::status=$PWD/status -o Dir::Cache=$PWD/cache -o Dir::Etc::sourcelist=$PWD/list -o Dir::Etc::sourceparts=- && `

// proxied are clients that use the proxy where its variables are set, and do without elsewhere.
var proxied = []dialogue{
	{"curl, http", "curl -fsS http://" + example + "/x", page(example)},
	{"curl, https", "curl -fsS https://" + example + "/x", page(example)},
	{"curl, a redirect", "curl -fsSL 'https://" + example + "/redirect?to=http://other.example.com/x'", page("other.example.com")},
	{"curl, an upload", "head -c 1000000 /dev/zero | curl -fsS -T - https://" + example + "/x", "hello from " + example + ": PUT /x of 1000000 bytes"},
	{"curl, a download", "curl -fsS https://" + example + "/bytes/3000000 | wc -c", "3000000"},
	{"wget, https", "wget -qO- https://" + example + "/x", page(example)},
	{"busybox wget, http", "busybox wget -qO- http://" + example + "/x", page(example)},
	{"git", `cd "$(mktemp -d)" && git clone -q https://github.com/outside/greeting.git && cat greeting/greeting.txt`, "good day"},
	{"pip", `dir=$(mktemp -d) && pip install -q --target "$dir" greeting && PYTHONPATH=$dir python3 -c 'import greeting, politeness; print(politeness.word())'`, "good day"},
	{"pip of a venv", `dir=$(mktemp -d) && python3 -m venv "$dir" && "$dir/bin/pip" install -q greeting && "$dir/bin/python" -c 'import greeting, politeness; print(politeness.word())'`, "good day"},
	{"requests", "python3 -c \"import requests; print(requests.get('https://" + example + "/x').text)\"", page(example)},
	{"urllib", "python3 -c \"import urllib.request; print(urllib.request.urlopen('https://" + example + "/x').read().decode())\"", page(example)},
	{"npm", `cd "$(mktemp -d)" && npm init -y >/dev/null && npm install --no-audit --no-fund --silent small-greeting && node -p 'require("small-greeting")()'`, "good day"},
	{"pnpm", `cd "$(mktemp -d)" && npm init -y >/dev/null && pnpm add --silent small-greeting >/dev/null && node -p 'require("small-greeting")()'`, "good day"},
	{"apt, http", aptHere + `apt-get "$@" update >/dev/null && apt-get "$@" download small-greeting >/dev/null && dpkg-deb --fsys-tarfile small-greeting_1.0_all.deb | tar -xO ./usr/share/small-greeting`, "good day"},
	{"a Go program", "/mnt/given/guest fetch https://" + example + "/x", page(example)},
}

// direct are clients that know of no proxy.
var direct = []dialogue{
	{"curl, a server of IPv6", "curl -fsS https://six.example.com/x", page("six.example.com")},
	{"busybox wget, https", "busybox wget -qO- https://" + example + "/x", page(example)},
	{"http.client", "python3 -c \"import http.client; c = http.client.HTTPSConnection('" + example + "'); c.request('GET', '/x'); print(c.getresponse().read().decode())\"", page(example)},
	{"node fetch", "node -e \"fetch('https://" + example + "/x').then(r => r.text()).then(console.log)\"", page(example)},
	{"node https", "node -e \"require('https').get('https://" + example + "/x', r => r.pipe(process.stdout))\"", page(example)},
	{"openssl", "openssl s_client -connect " + example + ":443 -verify_return_error -brief </dev/null 2>&1 | grep Verification", "Verification: OK"},
	{"psql", "psql -h db.example.com -U nobody -d nothing -Atc 'select word'", "good day"},
	{"ssh", sshHere + "nobody@ssh.example.com greet", "good day"},
	{"one that listens first", "exec 3<>/dev/tcp/mail.example.com/25 && read -r line <&3 && echo HELO >&3 && read -r more <&3 && echo $line $more", "220 mail.example.com\r 250 5 bytes"},
	{"one that closes its half", `python3 -c "import socket
s = socket.create_connection(('echo.example.com', 7)); s.sendall(b'said'); s.shutdown(socket.SHUT_WR); print(s.recv(10).decode(), s.recv(10))"`, "said b''"},
	{"a program of musl", "musl-fetch " + example + " 80 /x | tail -n 1", page(example)},
	{"getent", "getent ahosts " + example + " | grep -cE '^127[.](6[4-9]|[7-9].|1[01].|12[0-7])[.]'", "3"},
}

// refused are clients that ask for a name that is not allowed, and what their users see.
var refused = []dialogue{
	{"curl", "curl -fsS https://denied.example.com/", "curl: (6) Could not resolve host: denied.example.com"},
	{"wget", "wget -O- https://denied.example.com/ 2>&1 | tail -n 1", "wget: unable to resolve host address ‘denied.example.com’"},
	{"busybox wget", "busybox wget -qO- http://denied.example.com/", "wget: bad address 'denied.example.com'"},
	{"git", "git clone -q https://denied.example.com/x.git /tmp/never", "fatal: unable to access 'https://denied.example.com/x.git/': Could not resolve host: denied.example.com"},
	{"urllib", "python3 -c \"import urllib.request; urllib.request.urlopen('https://denied.example.com/')\" 2>&1 | tail -n 1", "urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>"},
	{"node", "node -e \"fetch('https://denied.example.com/').catch(e => console.log(e.cause.code))\"", "ENOTFOUND"},
	{"psql", "psql -h denied.example.com -U nobody -d nothing -c 'select 1'", `psql: error: could not translate host name "denied.example.com" to address: Name or service not known`},
	{"ssh", sshHere + "nobody@denied.example.com greet", "ssh: Could not resolve hostname denied.example.com: Name or service not known"},
	{"a Go program", "/mnt/given/guest fetch https://denied.example.com/ 2>&1 | grep -o 'no such host'", "no such host"},
	{"a program of musl", "musl-fetch denied.example.com 80 /", "denied.example.com: Name does not resolve"},
	{"a port of an allowed name", "curl -fsS https://" + example + ":8443/ 2>&1 | grep -o 'Connection refused\\|Could not connect to server\\|Couldn.t connect to server'", "Co"},
	{"an address", "curl -fsS http://203.0.113.20/ 2>&1", "curl: (7)"},
}
