// musl-fetch NAME PORT PATH: what a program that is linked with musl sees of a page by HTTP.
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
	if (argc != 4) return 2;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *each;
	int failed = getaddrinfo(argv[1], argv[2], &hints, &found);
	if (failed) {
		fprintf(stderr, "%s: %s\n", argv[1], gai_strerror(failed));
		return 1;
	}
	for (each = found; each; each = each->ai_next) {
		int fd = socket(each->ai_family, each->ai_socktype, each->ai_protocol);
		if (fd < 0 || connect(fd, each->ai_addr, each->ai_addrlen)) {
			perror("connect");
			continue;
		}
		dprintf(fd, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", argv[3], argv[1]);
		char buffer[4096];
		for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;)
			if (write(1, buffer, n) != n) return 1;
		return 0;
	}
	return 1;
}
