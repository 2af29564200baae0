package configs

import (
	"fmt"
	"strings"
	"testing"
)

// own is the beginning of a template of a file's own, without a fault, and bind that of a mount of it.
const (
	own  = "[templates.go]\nimage = 'x'\n"
	bind = own + "[[templates.go.mounts]]\nsource = '/a'\n"
)

// secret is a secret without a fault, and withSecret is that and a template which uses it.
const (
	secret     = "[[secrets]]\nname = 'a'\nhosts = ['a.test']\nheader = 'X-Key'\nfile = '/x'\n"
	withSecret = secret + "[templates.go]\nimage = 'x'\nnetwork = {mode = 'door', allow = ['a.test'], secrets = ['a']}\n"
)

// hook is the beginning of a hook without a fault.
const hook = "[[hooks]]\nurl = 'http://x'\nevents = ['*']\n"

// door is the beginning of a template with a network.
const door = own + "[templates.go.network]\nmode = 'door'\n"

// manyRules are rules that all differ, in short.
func manyRules(n int) string {
	var list strings.Builder
	for i := range n {
		fmt.Fprintf(&list, "'x%d',", i)
	}
	return list.String()
}

func TestFaults(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"newer format":        {"version = 2\nnew = 1", "f:1: version: format 2, but this sandpoold reads only 1"},
		"region":              {"region = 'EU'", `f:1: region: "EU": want 1 to 63`},
		"wrong type":          {"[pools.default]\ntarget = 'many'", "f:2: pools.default.target: is a text, want a whole number"},
		"fraction":            {"[pools.default]\nmax = 1.5", "f:2: pools.default.max: is a number with a fraction, want a whole number"},
		"list":                {"[daemon]\nsocket = []", "f:2: daemon.socket: is a list, want a text"},
		"table for a value":   {"[daemon.socket]\nx = 1", "f:1: daemon.socket: is a table, want a text"},
		"value for a table":   {"daemon = 3", "f:1: daemon: is a whole number, want a table"},
		"list of tables":      {"[[pools.default]]\nmax = 8", "f:1: pools.default: is a list, want a table"},
		"date":                {"region = 2026-01-01", "f:1: region: is a date or time, want a text"},
		"bare duration":       {"[limits]\nmax_wait = 90", "f:2: limits.max_wait: is a whole number, want a duration in quotes"},
		"bad duration":        {"[limits]\nmax_wait = '9 days'", `f:2: limits.max_wait: duration "9 days"`},
		"no time":             {"[limits]\nkill_timeout = '0s'", "f:2: limits.kill_timeout: 0s: want more than 0"},
		"negative wait":       {"[limits]\nclaim_wait = '-1s'", "f:2: limits.claim_wait: -1s: want no less than 0"},
		"long timeout":        {"[limits]\nstart_timeout = '60h'", "f:2: limits.start_timeout: 60h0m0s: want at most 1h0m0s"},
		"wait over the most":  {"[limits]\nclaim_wait = '11m'", "f:2: limits.claim_wait: 11m0s: want at most 10m0s"},
		"old key":             {"[limits]\nlifetime = '1h'", "f:2: limits.lifetime: no longer a key: use limits.lifetime_type and [lifetimes.NAME]\n2| lifetime = '1h'\n | ~~~~~~~~"},
		"lifetime over":       {"[lifetimes.x]\nlifetime = '8d'", "f:2: lifetimes.x.lifetime: 8d: want at most limits.max_lifetime, which is 7d"},
		"limit below a type":  {"[limits]\nmax_lifetime = '1d'", "f:2: limits.max_lifetime: 1d: want no less than lifetimes.preview.lifetime, which is 7d"},
		"no limit":            {"[limits]\nmax_lifetime = '0s'", "f:2: limits.max_lifetime: 0s: want more than 0"},
		"no such type":        {"[limits]\nlifetime_type = 'dev'", `f:2: limits.lifetime_type: "dev": want one of cicd, development, preview, warm_pool`},
		"template's type":     {"[lifetimes.x]\nlifetime = '1h'\n[templates.go]\nimage = 'x'\nlifetime_type = 'y'", `f:5: templates.go.lifetime_type: "y": want one of cicd, development, preview, warm_pool, x`},
		"name of a type":      {"[lifetimes._x]\nlifetime = '1h'", "f:1: lifetimes._x: name: want 1 to 63 lower-case letters, digits, dashes and underscores"},
		"no lifetime":         {"[lifetimes.x]\nextensions = 1", "f:1: lifetimes.x.lifetime: missing: want how long"},
		"lifetime of 0":       {"[lifetimes.x]\nlifetime = '0s'", "f:2: lifetimes.x.lifetime: 0s: want more than 0"},
		"built-in of 0":       {"[lifetimes.warm_pool]\nlifetime = '0s'", "f:2: lifetimes.warm_pool.lifetime: 0s: want more than 0"},
		"long lifetime":       {"[lifetimes.warm_pool]\nlifetime = '366d'", "f:2: lifetimes.warm_pool.lifetime: 366d: want at most 365d"},
		"warning at once":     {"[lifetimes.cicd]\nwarning = '2h'", "f:2: lifetimes.cicd.warning: 2h0m0s: want less than lifetime, which is 2h0m0s"},
		"built-in warning":    {"[lifetimes.cicd]\nlifetime = '10m'", "f:1: lifetimes.cicd.warning: 15m0s: want less than lifetime, which is 10m0s"},
		"warning below 0":     {"[lifetimes.cicd]\nwarning = '-1s'", "f:2: lifetimes.cicd.warning: -1s: want no less than 0"},
		"grace at once":       {"[lifetimes.x]\nlifetime = '1h'\ngrace = '1h'", "f:3: lifetimes.x.grace: 1h0m0s: want less than lifetime"},
		"grace below 0":       {"[lifetimes.cicd]\ngrace = '-1s'", "f:2: lifetimes.cicd.grace: -1s: want no less than 0"},
		"warning after":       {"[lifetimes.cicd]\nwarning = '4m'", "f:2: lifetimes.cicd.warning: 4m0s: want no less than grace, which is 5m0s, or 0s for none"},
		"extensions":          {"[lifetimes.cicd]\nextensions = 1001", "f:2: lifetimes.cicd.extensions: 1001: want 0 to 1000"},
		"suspend alone":       {"[lifetimes.cicd]\nidle_suspend = '1h'", "f:2: lifetimes.cicd.idle_suspend: 1h0m0s: does nothing without idle_pause"},
		"delete alone":        {"[lifetimes.cicd]\nidle_pause = '1h'\nidle_delete = '1h'", "f:3: lifetimes.cicd.idle_delete: 1h0m0s: does nothing without idle_suspend"},
		"idle below 0":        {"[lifetimes.cicd]\nidle_pause = '-1h'", "f:2: lifetimes.cicd.idle_pause: -1h0m0s: want no less than 0"},
		"key of a type":       {"[lifetimes.cicd]\nmax = 1", "f:2: lifetimes.cicd.max: unknown key: want one of extensions, grace,"},
		"checkpoint dir":      {"[checkpoints]\ndir = 'a'", `f:2: checkpoints.dir: "a": want an absolute path`},
		"checkpoint age":      {"[checkpoints]\nmax_age = '-1s'", "f:2: checkpoints.max_age: -1s: want no less than 0"},
		"checkpoint count":    {"[checkpoints]\nmax_count = -1", "f:2: checkpoints.max_count: -1: want 0 to 1073741824"},
		"checkpoint size":     {"[checkpoints]\nmax_mib = -1", "f:2: checkpoints.max_mib: -1: want 0 to 1073741824"},
		"checkpoint timeout":  {"[checkpoints]\ntimeout = '0s'", "f:2: checkpoints.timeout: 0s: want more than 0"},
		"an owner's count":    {"[checkpoints]\nmax_count_per_user = -1", "f:2: checkpoints.max_count_per_user: -1: want 0 to 1073741824"},
		"an owner's size":     {"[checkpoints]\nmax_mib_per_user = -1", "f:2: checkpoints.max_mib_per_user: -1: want 0 to 1073741824"},
		"few events":          {"[events]\nkeep = 99", "f:2: events.keep: 99: want 100 to 10000000"},
		"no URL of traces":    {"[tracing]\nendpoint = 'localhost:4318'", `f:2: tracing.endpoint: "localhost:4318": want an absolute http or https URL`},
		"secret in a URL":     {"[tracing]\nendpoint = 'http://a:b@x'", `f:2: tracing.endpoint: "http://a:b@x": want it without a user`},
		"query of a URL":      {"[tracing]\nendpoint = 'http://x?a=b'", `f:2: tracing.endpoint: "http://x?a=b": want it without a user`},
		"sample":              {"[tracing]\nsample = 1.5", "f:2: tracing.sample: 1.5: want 0 to 1"},
		"negative sample":     {"[tracing]\nsample = -1", "f:2: tracing.sample: -1: want 0 to 1"},
		"sample of nothing":   {"[tracing]\nsample = nan", "f:2: tracing.sample: NaN: want 0 to 1"},
		"secret's name":       {strings.Replace(secret, "'a'", "'A B'", 1), `f:2: secrets[0].name: "A B": want 1 to 63`},
		"secret twice":        {secret + secret, `f:7: secrets[1].name: "a": named twice`},
		"secret for nobody":   {strings.Replace(secret, "'a.test'", "", 1), "f:3: secrets[0].hosts: 0 of them: want 1 to 64"},
		"secret for too many": {strings.Replace(secret, "'a.test'", strings.Repeat("'a.test', ", 65), 1), "f:3: secrets[0].hosts: 65 of them: want 1 to 64"},
		"relative ca_file":    {secret + "ca_file = 'x'", `f:6: secrets[0].ca_file: "x": want an absolute path`},
		"credential above":    {strings.Replace(secret, "file = '/x'", "credential = '..'", 1), `f:5: secrets[0].credential: "..": want the name of a credential`},
		"secret for many":     {strings.Replace(secret, "a.test", "*.test", 1), `f:3: secrets[0].hosts[0]: "*.test" is not the name of a host`},
		"secret for address":  {strings.Replace(secret, "a.test", "127.0.0.1", 1), `f:3: secrets[0].hosts[0]: "127.0.0.1" is not the name of a host`},
		"no header":           {strings.Replace(secret, "header = 'X-Key'\n", "", 1), "f:1: secrets[0].header: want either this or user"},
		"header and user":     {secret + "user = 'u'", "f:4: secrets[0].header: want either this or user"},
		"header of HTTP":      {strings.Replace(secret, "X-Key", "transfer-encoding", 1), `f:4: secrets[0].header: "transfer-encoding": want the name of a header, but none`},
		"header in two":       {strings.Replace(secret, "'X-Key'", `"X\r\nY"`, 1), `f:4: secrets[0].header: "X\r\nY": want the name of a header`},
		"value without":       {secret + "value = 'x'", `f:6: secrets[0].value: want a text in one line with {secret} once`},
		"value in two lines":  {secret + `value = "{secret}\n"`, `f:6: secrets[0].value: want a text in one line`},
		"user with a colon":   {strings.Replace(secret, "header = 'X-Key'", "user = 'a:b'", 1), "f:4: secrets[0].user: want a name without a colon"},
		"secret from nobody":  {strings.Replace(secret, "file = '/x'\n", "", 1), "f:1: secrets[0].file: want either this or credential"},
		"secret twofold":      {secret + "credential = 'x'", "f:5: secrets[0].file: want either this or credential"},
		"relative secret":     {strings.Replace(secret, "/x", "x", 1), `f:5: secrets[0].file: "x": want an absolute path`},
		"credential's path":   {strings.Replace(secret, "file = '/x'", "credential = '../x'", 1), `f:5: secrets[0].credential: "../x": want the name of a credential`},
		"no such secret":      {strings.Replace(withSecret, "secrets = ['a']", "secrets = ['b']", 1), `f:8: templates.go.network.secrets[0]: "b": there is no such [[secrets]]`},
		"secret not allowed":  {strings.Replace(withSecret, "allow = ['a.test']", "allow = ['a.test:80']", 1), `f:8: templates.go.network.secrets[0]: "a": no rule of the template allows port 443`},
		"two for one header":  {strings.Replace(strings.Replace(secret, "'a'", "'b'", 1), "X-Key", "x-key", 1) + strings.Replace(withSecret, "['a']", "['a', 'b']", 1), `f:13: templates.go.network.secrets[1]: "b" and "a" cannot both be used for a.test`},
		"two for one in CGI":  {strings.Replace(strings.Replace(secret, "'a'", "'b'", 1), "X-Key", "x_key", 1) + strings.Replace(withSecret, "['a']", "['a', 'b']", 1), `f:13: templates.go.network.secrets[1]: "b" and "a" cannot both be used for a.test`},
		"two authorities":     {strings.Replace(strings.Replace(secret, "'a'", "'b'", 1), "X-Key", "Other", 1) + "ca_file = '/y'\n" + strings.Replace(withSecret, "['a']", "['a', 'b']", 1), `f:14: templates.go.network.secrets[1]: "b" and "a" cannot both be used for a.test`},
		"secret of no door":   {secret + "[templates.go]\nimage = 'x'\nnetwork = {secrets = ['a']}", `f:8: templates.go.network.secrets: means nothing with mode "none"`},
		"rate":                {door + "rate = -1", "f:5: templates.go.network.rate: -1: want 0 to"},
		"bytes":               {door + "max_bytes = -1", "f:5: templates.go.network.max_bytes: -1: want 0 to"},
		"limits of no door":   {strings.Replace(door, "'door'", "'nic'", 1) + "rate = 9", `f:3: templates.go.network: secrets, rate and max_bytes hold at a door, and mode "nic" goes past it`},
		"one hook":            {"[hooks]\nurl = 'http://x'", "f:1: hooks: is a table, want a list of tables, each as [[hooks]]"},
		"hook of no table":    {"hooks = ['x']", "f:1: hooks[0]: is a text, want a table"},
		"second hook":         {hook + hook + "retries = 101", "f:7: hooks[1].retries: 101: want 0 to 100"},
		"key of a hook":       {hook + "uri = 'x'", "f:4: hooks[0].uri: unknown key: want one of command, events, retries, timeout, url\n4| uri = 'x'\n | ~~~"},
		"no events":           {"[[hooks]]\nurl = 'http://x'", `f:1: hooks[0].events: none: want kinds of events, or "*" alone`},
		"all and more":        {"[[hooks]]\nurl = 'http://x'\nevents = ['*', 'killed']", `f:3: hooks[0].events: "*" in a list: it stands alone`},
		"kind of event":       {"[[hooks]]\nurl = 'http://x'\nevents = ['killed', 'expired']", `f:3: hooks[0].events[1]: "expired": want one of claimed, released, extended, warning,`},
		"kind twice":          {"[[hooks]]\nurl = 'http://x'\nevents = ['killed', 'killed']", `f:3: hooks[0].events[1]: "killed": named twice`},
		"hook to nobody":      {"[[hooks]]\nevents = ['*']", "f:1: hooks[0].url: neither this nor command is given"},
		"hook to both":        {hook + "command = ['/x']", "f:2: hooks[0].url: given together with command"},
		"url":                 {"[[hooks]]\nevents = ['*']\nurl = 'ftp://x'", `f:3: hooks[0].url: "ftp://x": want an absolute http or https URL`},
		"url without host":    {"[[hooks]]\nevents = ['*']\nurl = 'http:///x'", `f:3: hooks[0].url: "http:///x": want an absolute http`},
		"relative command":    {"[[hooks]]\nevents = ['*']\ncommand = ['x']", `f:3: hooks[0].command: "x": want the program's absolute path first`},
		"NUL in a command":    {"[[hooks]]\nevents = ['*']\ncommand = ['/x', \"\\u0000\"]", `f:3: hooks[0].command[1]: "\x00": has a NUL`},
		"short timeout":       {hook + "timeout = '1us'", "f:4: hooks[0].timeout: 1µs: want at least 1ms"},
		"long hook":           {hook + "timeout = '2h'", "f:4: hooks[0].timeout: 2h0m0s: want at most 1h0m0s"},
		"starts":              {"[limits]\nstarts = -1", "f:2: limits.starts: -1: want 0 to 1024"},
		"relative socket":     {"[daemon]\nsocket = 'a.sock'", `f:2: daemon.socket: "a.sock": want an absolute path`},
		"long socket":         {"[daemon]\nsocket = '/" + strings.Repeat("x", 107) + "'", "f:2: daemon.socket: 108 bytes long"},
		"mode":                {"[daemon]\nsocket_mode = '0680'", `f:2: daemon.socket_mode: "0680": want an octal mode`},
		"mode as a number":    {"[daemon]\nsocket_mode = 0o660", "f:2: daemon.socket_mode: is a whole number, want a text"},
		"on_stop":             {"[daemon]\non_stop = 'kill'", `f:2: daemon.on_stop: "kill": want one of keep, remove`},
		"level":               {"[daemon]\nlog_level = 'loud'", `f:2: daemon.log_level: "loud": want one of debug`},
		"format":              {"[daemon]\nlog_format = 'xml'", `f:2: daemon.log_format: "xml": want one of text, json`},
		"state":               {"[daemon]\nstate_dir = ''", `f:2: daemon.state_dir: "": want an absolute path`},
		"namespace":           {"[containerd]\nnamespace = 'a b'", `f:2: containerd.namespace: "a b": want letters`},
		"relative runsc":      {"[runsc]\npath = 'bin/runsc'", `f:2: runsc.path: "bin/runsc": want an absolute path`},
		"shim":                {"[runsc]\nshim = ''", `f:2: runsc.shim: "": want letters`},
		"platform":            {"[runsc]\nplatform = 'docker'", `f:2: runsc.platform[0]: "docker": want one of systrap, kvm, ptrace, auto`},
		"no platform":         {"[runsc]\nplatform = []", "f:2: runsc.platform: empty list"},
		"platform twice":      {"[runsc]\nplatform = ['kvm', 'kvm']", `f:2: runsc.platform[1]: "kvm": named twice`},
		"auto in a list":      {"[runsc]\nplatform = ['auto', 'kvm']", `f:2: runsc.platform: "auto" in a list`},
		"platform of types":   {"[runsc]\nplatform = ['kvm', 3]", "f:2: runsc.platform: item 1 is a whole number, want a text"},
		"flag":                {"[runsc.flags]\ndebug = 1.5", "f:2: runsc.flags.debug: is a number with a fraction, want a text, true"},
		"template name":       {"[templates.'a.b']\nimage = 'x'", `f:1: templates."a.b": name: want 1 to 63`},
		"no image":            {"[templates.go]\nenv = []", "f:1: templates.go.image: missing"},
		"image of spaces":     {"[templates.go]\nimage = 'a b'", `f:2: templates.go.image: "a b": has a space`},
		"relative archive":    {"[templates.go]\nimage = 'file://a.tar'", `f:2: templates.go.image: "file://a.tar": want file:// and an absolute path`},
		"two commands":        {"[templates.go]\nimage = 'x'\nimage_command = true\ncommand = ['a']", "f:4: templates.go.command: given together with image_command"},
		"empty program":       {"[templates.go]\nimage = 'x'\ncommand = ['']", "f:3: templates.go.command: the first item is empty"},
		"env":                 {"[templates.go]\nimage = 'x'\nenv = [\n'A=',\n'B']", `f:5: templates.go.env[1]: "B": want KEY=VALUE`},
		"env twice":           {"[templates.go]\nimage = 'x'\nenv = ['A=1', 'A=2']", `f:3: templates.go.env[1]: "A=2": A is set twice`},
		"pool alone":          {"[pools.go]\nmax = 8", `f:1: pools.go: no template "go"`},
		"target over max":     {"[pools.default]\ntarget = 40", "f:2: pools.default.target: 40: want 0 to 32"},
		"empty pool":          {"[pools.default]\nmax = 0", "f:2: pools.default.max: 0: want 1 to 10000"},
		"min over target":     {"[pools.default]\nmin = 9", "f:2: pools.default.min: 9: want 0 to 8"},
		"hot over max":        {"[pools.default]\nhot = 33", "f:2: pools.default.hot: 33: want 0 to 32"},
		"up over 100":         {"[pools.default]\nscale_up_threshold = 101", "f:2: pools.default.scale_up_threshold: 101: want 1 to 100"},
		"down over up":        {"[pools.default]\nscale_down_threshold = 70", "f:2: pools.default.scale_down_threshold: 70: want 0 to 69"},
		"adaptive":            {"[pools.default]\nadaptive = 'yes'", "f:2: pools.default.adaptive: is a text, want true or false"},
		"age":                 {"[pools.default]\nmax_age = '-1s'", "f:2: pools.default.max_age: -1s: want no less than 0"},
		"recycle":             {"[pools.default]\nrecycle = 'wash'", `f:2: pools.default.recycle: "wash": want one of destroy, reset`},
		"prewarm":             {"[templates.go]\nimage = 'x'\nprewarm = ['a', ' ']", `f:3: templates.go.prewarm[1]: " ": want a command line`},
		"prewarm timeout":     {"[templates.go]\nimage = 'x'\nprewarm_timeout = '0s'", "f:3: templates.go.prewarm_timeout: 0s: want more than 0"},
		"ready command":       {"[templates.go]\nimage = 'x'\nready_command = \"a\\u0000b\"", `f:3: templates.go.ready_command: "a\x00b": want a command line`},
		"ready port":          {"[templates.go]\nimage = 'x'\nready_port = 65536", "f:3: templates.go.ready_port: 65536: want 0 to 65535"},
		"ready timeout":       {"[templates.go]\nimage = 'x'\nready_timeout = '2h'", "f:3: templates.go.ready_timeout: 2h0m0s: want at most 1h0m0s"},
		"on_claim":            {"[templates.go]\nimage = 'x'\non_claim = ['a', \"\\u0000\"]", `f:3: templates.go.on_claim[1]: "\x00": has a NUL in it`},
		"on_claim program":    {"[templates.go]\nimage = 'x'\non_claim = ['']", "f:3: templates.go.on_claim: the first item is empty"},
		"long on_claim":       {"[templates.go]\nimage = 'x'\non_claim = ['" + strings.Repeat("x", 2045) + "']", "f:3: templates.go.on_claim: 2049 bytes as JSON: want at most 2048"},
		"on_claim timeout":    {"[templates.go]\nimage = 'x'\non_claim_timeout = '6m'", "f:3: templates.go.on_claim_timeout: 6m0s: want at most 5m0s"},
		"pull":                {"[images]\npull = 'yes'", `f:2: images.pull: "yes": want one of missing, always, never`},
		"hosts folder":        {"[images]\nhosts_dir = 'a'", `f:2: images.hosts_dir: "a": want an absolute path`},
		"docker config":       {"[images]\ndocker_config = 'a'", `f:2: images.docker_config: "a": want an absolute path`},
		"token host":          {"[images]\ntoken_hosts = ['a.test', 'https://b.test']", `f:2: images.token_hosts[1]: "https://b.test": want a host, and its port unless that is 443`},
		"unpacked size":       {"[images]\nmax_unpacked_mib = 0", "f:2: images.max_unpacked_mib: 0: want 1 to 1073741824"},
		"pull timeout":        {"[images]\npull_timeout = '25h'", "f:2: images.pull_timeout: 25h0m0s: want at most 1d"},
		"stall timeout":       {"[images]\nstall_timeout = '11m'", "f:2: images.stall_timeout: 11m0s: want at most 10m0s"},
		"parallel":            {"[images]\nparallel = 0", "f:2: images.parallel: 0: want 1 to 64"},
		"unused images":       {"[images]\nkeep_unused = '-1s'", "f:2: images.keep_unused: -1s: want no less than 0"},
		"reserve":             {"[reserves]\nmemory_mib = -1", "f:2: reserves.memory_mib: -1: want 0 to 1073741824"},
		"cpus of a text":      {own + "cpus = '2'", "f:3: templates.go.cpus: is a text, want a number"},
		"few cpus":            {own + "cpus = 0.01", "f:3: templates.go.cpus: 0.01: want 0 for none, or 0.05 to 4096"},
		"cpus over the cap":   {own + "cpus = 4.5", "f:3: templates.go.cpus: 4.5: above the cap caps.cpus, which is 4"},
		"cpus of no number":   {own + "cpus = nan", "f:3: templates.go.cpus: NaN: want 0 for none"},
		"no limit, but cap":   {own + "cpus = 0", "f:3: templates.go.cpus: 0: no limit, but the cap caps.cpus is 4"},
		"little memory":       {own + "memory_mib = 2", "f:3: templates.go.memory_mib: 2: want 0 for none, or 64 to 1073741824"},
		"memory over":         {own + "memory_mib = 8193", "f:3: templates.go.memory_mib: 8193: above the cap caps.memory_mib, which is 8192"},
		"disk over":           {own + "disk_mib = 20\n[caps]\ndisk_mib = 10", "f:3: templates.go.disk_mib: 20: above the cap caps.disk_mib, which is 10"},
		"disk below 0":        {own + "disk_mib = -1", "f:3: templates.go.disk_mib: -1: want 0 for none, or 1 to 1073741824"},
		"pids over":           {own + "pids = 5000", "f:3: templates.go.pids: 5000: above the cap caps.pids, which is 4096"},
		"cap":                 {"[caps]\npids = 1", "f:2: caps.pids: 1: want 0 for none, or 16 to 1073741824"},
		"user":                {own + "user = 'a b'", `f:3: templates.go.user: "a b": want a name or a number, or two of them as in "app:staff"`},
		"user of no group":    {own + "user = 'a:'", `f:3: templates.go.user: "a:": want a name or a number`},
		"working folder":      {own + "cwd = 'srv'", `f:3: templates.go.cwd: "srv": want an absolute path`},
		"template platform":   {own + "platform = 'auto'", `f:3: templates.go.platform: "auto": want one of systrap, kvm, ptrace`},
		"kind of mount":       {own + "mounts = [{type = 'nfs', target = '/b'}]", `f:3: templates.go.mounts[0].type: "nfs": want one of bind, tmpfs`},
		"mount of nothing":    {own + "[[templates.go.mounts]]\ntarget = '/b'", `f:3: templates.go.mounts[0].source: "": want an absolute path`},
		"mount to nowhere":    {bind, `f:3: templates.go.mounts[0].target: "": want an absolute path`},
		"relative target":     {bind + "target = 'b'", `f:5: templates.go.mounts[0].target: "b": want an absolute path`},
		"target in /proc":     {bind + "target = '/proc/sys'", `f:5: templates.go.mounts[0].target: "/proc/sys": overlaps /proc, which is the sandbox's own`},
		"target over all":     {bind + "target = '/b/..'", `f:5: templates.go.mounts[0].target: "/b/..": overlaps /proc`},
		"target of the init":  {bind + "target = '/.sandpool'", `f:5: templates.go.mounts[0].target: "/.sandpool": overlaps /.sandpool`},
		"target twice":        {bind + "target = '/b'\n[[templates.go.mounts]]\nsource = '/c'\ntarget = '/b/'", `f:8: templates.go.mounts[1].target: "/b/": mounted twice`},
		"size of a folder":    {bind + "target = '/b'\nsize_mib = 1", "f:6: templates.go.mounts[0].size_mib: 1: only a tmpfs has a size"},
		"tmpfs of a folder":   {bind + "target = '/b'\ntype = 'tmpfs'\nsize_mib = 1", `f:4: templates.go.mounts[0].source: "/a": a tmpfs has none`},
		"tmpfs of no size":    {own + "[[templates.go.mounts]]\ntarget = '/b'\ntype = 'tmpfs'", "f:3: templates.go.mounts[0].size_mib: 0: want 1 to 1073741824"},
		"tmpfs too large":     {own + "[[templates.go.mounts]]\ntarget = '/b'\ntype = 'tmpfs'\nsize_mib = 2049", "f:6: templates.go.mounts[0].size_mib: 2049: a tmpfs is memory, of which the sandbox has 2048 MiB"},
		"resolver":            {"[network]\nresolvers = ['192.0.2.1:53',\n'192.0.2.1']", `f:3: network.resolvers[1]: "192.0.2.1": want an address and a port`},
		"resolve timeout":     {"[network]\nresolve_timeout = '2h'", "f:2: network.resolve_timeout: 2h0m0s: want at most 1h0m0s"},
		"network timeout":     {"[network]\nconnect_timeout = '0s'", "f:2: network.connect_timeout: 0s: want more than 0"},
		"all connections":     {"[network]\nmax_connections = 0", "f:2: network.max_connections: 0: want 1 to 100000"},
		"kind of network":     {own + "network.mode = 'bridge'", `f:3: templates.go.network.mode: "bridge": want one of none, door`},
		"rules of none":       {own + "network.allow = ['a.test']", `f:3: templates.go.network.allow: means nothing with mode "none"`},
		"learn with none":     {own + "network.learn = true", `f:3: templates.go.network.learn: means nothing with mode "none"`},
		"rule":                {door + "allow = [\n'a.test',\n'127.1']", `f:7: templates.go.network.allow[1]: rule "127.1": "127.1" is not the name of a host`},
		"port of a rule":      {door + "deny = ['a.test:0']", `f:5: templates.go.network.deny[0]: rule "a.test:0": "0" is no port`},
		"rule twice":          {door + "allow = [\n'a.test', 'b.test',\n'A.test.:80,443']", `f:7: templates.go.network.allow[2]: rule "A.test.:80,443" says what allow[0] says already`},
		"void rule":           {door + "deny = ['*.test']\nallow = [\n# why\n'x.test',\n'b.example']", `f:8: templates.go.network.allow[0]: rule "x.test" allows nothing, since deny[0], "*.test", denies all of it`},
		"preset":              {door + "preset = ['all']", `f:5: templates.go.network.preset[0]: there is no preset "all", but there is ["package-registries"]`},
		"many rules":          {door + "allow = [" + manyRules(513) + "]", "f:3: templates.go.network: there are more than 512 rules"},
		"connections of one":  {door + "max_connections = 1025", "f:5: templates.go.network.max_connections: 1025: want 1 to 1024"},
		"syntax":              {"region = 'a'\nversion = = 1", "f:2:11:"},
		"key twice":           {"region = 'a'\nregion = 'b'", "f:2:1:"},
		"unknown key":         {"[limits]\nstart = 1", "f:2: limits.start: unknown key: want one of claim_wait, claims_per_user, connections, connections_per_user, execs_per_user, followers_per_user, kill_timeout, lifetime_type, max_lifetime, max_wait, pause_timeout, start_timeout, starts, waiting_per_user\n2| start = 1\n | ~~~~~"},
		"unknown table":       {"[limit]\nstart = 1", "f:1: limit: unknown key"},
		"capital letters":     {"[limits]\nStarts = 1", "f:2: limits.Starts: unknown key: want one of"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f", []byte(test.text))
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Fatalf("got  %v\nwant %s", err, test.want)
			}
			if n := len(err.(interface{ Unwrap() []error }).Unwrap()); n != 1 {
				t.Errorf("%d faults, want 1:\n%v", n, err)
			}
		})
	}
}

func TestEveryFaultAtOnceInOrder(t *testing.T) {
	_, err := Parse("f", []byte(`region = "E U"
[daemon]
sokcet = "/run/x"
log_level = 3
[pools.default]
target = "many"
max = -1
[templates.go]
image = ""
`))
	if err == nil {
		t.Fatal("no error")
	}
	at := 0
	for _, want := range []string{
		"f:1: region:", "f:3: daemon.sokcet: unknown", "f:4: daemon.log_level: is a whole", "f:5: pools.default: no template",
		"f:6: pools.default.target: is a text", "f:7: pools.default.max: -1", "f:9: templates.go.image: missing",
	} {
		i := strings.Index(err.Error()[at:], want)
		if i < 0 {
			t.Fatalf("no %q after byte %d of\n%v", want, at, err)
		}
		at += i
	}
}

func TestFaultsOfAConfigMadeInCode(t *testing.T) {
	c := Default()
	c.Region = ""
	c.Pools["default"] = sized(0, 0, 0)
	want := `pools.default.max: 0: want 1 to 10000` + "\n" + `region: "": ` + nameRule
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// FuzzParse finds no input that panics, and none that parses and is not valid.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{Sample, "", "a", "[daemon]\nx=1", "pools.a = {max = 1}", "[[pools.a]]", "runsc.flags.\"a.b\" = 1", "Region = 'x'\nregion = 'y'", "version = 2", "lifetimes.x.lifetime = '1h'", "hooks = [{}, 1]", "[[a.b]]\n[[a.b.c]]\nd = 1", hook + hook} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without text")
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("parsed, but: %v", err)
		}
		for name, l := range c.Lifetimes {
			if err := l.Type().Validate(); err != nil {
				t.Errorf("lifetime type %s was parsed, but: %v", name, err)
			}
		}
	})
}
