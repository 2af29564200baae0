package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"sandpool/cmd/sandpool-init/supervise"
	"sandpool/runtime/supervisor/protocol"
)

// spawnSocket is the abstract unix socket of process 1. A request is the program's path, the folder to run in, the number
// of arguments, the arguments and the environment, after a byte that carries the log's descriptor; the answer is an exit code and, if that is 0,
// the process id, else the reason.
const spawnSocket = "@sandpool-init"

// spawn asks process 1 to start a command, which then outlives a restore of the sandbox: of the processes in a checkpoint
// only process 1 and its descendants do. The command's input is empty; its output goes to the log, or nowhere.
func spawn(args []string) int {
	logFile := ""
	if len(args) > 1 && args[0] == "--log" {
		logFile, args = args[1], args[2:]
	}
	if len(args) < 2 || args[0] != "--" {
		return fail(exitUsage, "usage: sandpool-init spawn [--log FILE] -- CMD ARG...")
	}
	args = args[1:]
	path, err := find(args[0])
	if err != nil {
		return cannotRun(args[0], err)
	}
	folder, err := os.Getwd()
	if err != nil {
		return fail(exitFailure, "sandpool-init: get the working folder: %v", err)
	}
	log, err := openLog(logFile)
	if err != nil {
		return fail(exitFailure, "sandpool-init: open the log: %v", err)
	}
	defer func() { _ = log.Close() }()
	request := append([]string{path, folder, strconv.Itoa(len(args))}, args...)
	answer, err := askToSpawn(append(request, os.Environ()...), log)
	if err != nil {
		return fail(exitFailure, "sandpool-init: ask process 1: %v", err)
	}
	if answer[0] != "0" {
		code, err := strconv.Atoi(answer[0])
		if err != nil {
			code = exitFailure
		}
		return fail(code, "sandpool-init: run %s: %s", args[0], answer[1])
	}
	fmt.Println(answer[1])
	return 0
}

// openLog opens the log with the caller's rights, so process 1 need not be trusted to. It must be a file of the sandbox:
// what the host holds the other end of, such as the caller's own output, does not outlive a restore.
func openLog(name string) (*os.File, error) {
	if name == "" {
		return os.OpenFile(os.DevNull, os.O_WRONLY|unix.O_NONBLOCK, 0) // root may have put a pipe there
	}
	flags := os.O_WRONLY | os.O_APPEND | os.O_CREATE | unix.O_NONBLOCK // a pipe must not hold it up
	file, err := os.OpenFile(name, flags, 0o644)                       //nolint:gosec // as a shell makes files
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = file.Close()
		return nil, fmt.Errorf("%s is no plain file", name)
	}
	return file, nil
}

func askToSpawn(request []string, log *os.File) ([]string, error) {
	message, err := encode(request)
	if err != nil {
		return nil, err
	}
	conn, err := dialInit(spawnSocket) // only process 1 may see the environment, which may hold secrets
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	err = supervise.Control(conn, func(fd int) error {
		return unix.Sendmsg(fd, []byte{0}, unix.UnixRights(int(log.Fd())), nil, unix.MSG_NOSIGNAL)
	})
	if err == nil {
		_, err = conn.Write(message)
	}
	if err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	answer, err := receive(conn)
	if err == nil && len(answer) != 2 {
		err = errors.New("want two words")
	}
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	return answer, nil
}

// encode puts the length of the message before it.
func encode(words []string) ([]byte, error) {
	message := protocol.Words(words)
	if len(message) > protocol.MaxMessage {
		return nil, fmt.Errorf("arguments and environment of %d bytes: the limit is %d", len(message), protocol.MaxMessage)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...), nil //nolint:gosec // bounded above
}

// receive reads a message and takes it apart.
func receive(r io.Reader) ([]string, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > protocol.MaxMessage {
		return nil, fmt.Errorf("a message of %d bytes: the limit is %d", size, protocol.MaxMessage)
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(r, message); err != nil {
		return nil, err
	}
	return protocol.SplitWords(message)
}
