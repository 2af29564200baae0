package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"sandpool/daemon/begin"
	"sandpool/daemon/files"
	"sandpool/daemon/wire"
	"sandpool/pool"
	"sandpool/runtime/supervisor"
)

// writeTimeout is how long a client may take to receive an answer, or each part of a long one.
const writeTimeout = 10 * time.Second

// statusClientGone is for metrics and logs: it is never sent.
const statusClientGone = 499

// Errors that have no class in errdefs.
var (
	errMethod  = errors.New("method not allowed")
	errUpgrade = errors.New("exec needs a connection upgrade: send `Connection: Upgrade` and `Upgrade: " + wire.ExecProtocol + "`")
	// ErrDiskFull is of a checkpoint for which the disk has no room.
	ErrDiskFull = errors.New("the disk that holds checkpoints is full")
	// ErrNoRoom is of a checkpoint for which the bounds leave no room.
	ErrNoRoom   = errors.New("no room for the checkpoint")
	errStopping = errdefs.ErrUnavailable.WithMessage("the daemon is stopping")
)

// classes maps errors to answers; the first that fits counts, and none means an internal error.
var classes = []struct {
	is     func(error) bool
	status int
	code   string
}{
	{isTooLarge, http.StatusRequestEntityTooLarge, "too_large"},
	{is(errMethod), http.StatusMethodNotAllowed, "method_not_allowed"},
	{is(errUpgrade), http.StatusUpgradeRequired, "upgrade_required"},
	{is(errTooMany), http.StatusTooManyRequests, wire.CodeTooMany},
	{cannotRun(exitNotFound), http.StatusBadRequest, wire.CodeCommandNotFound},
	{cannotRun(exitNotRunnable), http.StatusBadRequest, wire.CodeCommandNotRunnable},
	{is(files.ErrOther), http.StatusPreconditionFailed, "precondition_failed"},
	{is(files.ErrRange), http.StatusRequestedRangeNotSatisfiable, "range_not_satisfiable"},
	{is(files.ErrNoFile), http.StatusNotFound, wire.CodeFileNotFound},
	{is(files.ErrFull), http.StatusInsufficientStorage, "disk_full"},
	{errdefs.IsInvalidArgument, http.StatusBadRequest, wire.CodeInvalidArgument},
	{errdefs.IsPermissionDenied, http.StatusForbidden, "permission_denied"},
	{errdefs.IsNotFound, http.StatusNotFound, wire.CodeNotFound},
	{errdefs.IsAlreadyExists, http.StatusConflict, wire.CodeConflict},
	{errdefs.IsConflict, http.StatusConflict, wire.CodeConflict},
	{errdefs.IsFailedPrecondition, http.StatusConflict, wire.CodeConflict},
	{is(ErrDiskFull), http.StatusInsufficientStorage, "disk_full"},
	{is(ErrNoRoom), http.StatusInsufficientStorage, "checkpoints_full"},
	{isHook, http.StatusUnprocessableEntity, "on_claim_failed"},
	{is(pool.ErrQuota), http.StatusTooManyRequests, wire.CodeQuota},
	{errdefs.IsResourceExhausted, http.StatusServiceUnavailable, wire.CodePoolEmpty},
	{errdefs.IsUnavailable, http.StatusServiceUnavailable, wire.CodeUnavailable},
	{errdefs.IsDeadlineExceeded, http.StatusGatewayTimeout, wire.CodeTimeout},
	{errdefs.IsNotImplemented, http.StatusNotImplemented, "unsupported"},
	{errdefs.IsCanceled, statusClientGone, "canceled"},
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

// The exit codes that shells give commands that cannot be run.
const (
	exitNotRunnable = 126
	exitNotFound    = 127
)

func cannotRun(code int) func(error) bool {
	return func(err error) bool {
		failed, ok := errors.AsType[*supervisor.Failure](err)
		return ok && failed.Code == code
	}
}

func isHook(err error) bool {
	_, ok := errors.AsType[*begin.HookError](err)
	return ok
}

func isTooLarge(err error) bool {
	_, ok := errors.AsType[*http.MaxBytesError](err)
	return ok
}

// invalid is an error that the client can mend.
func invalid(format string, args ...any) error {
	return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf(format, args...))
}

// describe is err as a client sees it.
func describe(err error) *wire.Error {
	for _, c := range classes {
		if c.is(err) {
			return &wire.Error{Status: c.status, Code: c.code, Message: message(err)}
		}
	}
	return &wire.Error{Status: http.StatusInternalServerError, Code: "internal", Message: message(err)}
}

func message(err error) string { return tidy(err.Error()) }

// tidy is the text of an error without the names of classes at the ends of its lines, which say nothing that a sentence and a code do not.
func tidy(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		for _, class := range []error{
			pool.ErrQuota, errdefs.ErrAlreadyExists, errdefs.ErrFailedPrecondition, errdefs.ErrInvalidArgument, errdefs.ErrResourceExhausted, errdefs.ErrUnavailable,
		} {
			lines[i] = strings.TrimSuffix(lines[i], ": "+class.Error())
		}
	}
	return strings.Join(lines, "\n")
}

// report is describe for an error that was met while serving r. An internal one is logged, since it is the operator's matter.
func (a *api) report(r *http.Request, err error) *wire.Error {
	answer := describe(err)
	who, _ := actorOf(r.Context())
	if start, ok := errors.AsType[*pool.StartError](err); ok {
		answer.Message = tidy(strings.ReplaceAll(err.Error(), start.Reason, who.reason(start.Reason)))
	}
	if answer.Status == http.StatusInternalServerError {
		a.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	return answer
}

// fail answers with err. A client that went away gets no answer.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	answer := a.report(r, err)
	switch answer.Status {
	case statusClientGone:
		panic(http.ErrAbortHandler) // net/http's own way to close a connection without an answer
	case http.StatusUpgradeRequired:
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", wire.ExecProtocol)
	}
	if passes(answer.Status) {
		w.Header().Set("Retry-After", "1")
	}
	if err := answerJSON(w, answer.Status, answer); err != nil {
		a.Log.Debug("answer could not be sent", "path", r.URL.Path, "err", err)
	}
}

// passes tells whether what is refused with a status may be tried again soon.
func passes(status int) bool {
	return status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests
}

// answerJSON sends body and returns an error when the client cannot have received it.
func answerJSON(w http.ResponseWriter, status int, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)+1)) // it is whole before the request's body may be
	w.WriteHeader(status)
	_, err = w.Write(append(data, '\n'))
	if err = cmp.Or(err, http.NewResponseController(w).Flush()); err != nil {
		return fmt.Errorf("send answer: %w", err)
	}
	return nil
}
