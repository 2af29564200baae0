package egress

// ProxyAddress is where the proxy listens in a sandbox.
const ProxyAddress = "127.0.0.1:3128"

// ProxyEnv is what tells programs of the proxy, as KEY=VALUE. ALL_PROXY is not among it: programs without SOCKS fail with it, even where they could
// connect by name.
func ProxyEnv() []string {
	const url, none = "http://" + ProxyAddress, "localhost,127.0.0.1,::1"
	return []string{
		"HTTP_PROXY=" + url, "HTTPS_PROXY=" + url, "NO_PROXY=" + none,
		"http_proxy=" + url, "https_proxy=" + url, "no_proxy=" + none,
	}
}
