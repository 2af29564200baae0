package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"sandpool/daemon/files"
	"sandpool/daemon/paced"
	"sandpool/runtime"
)

// fileHandler answers a request for an operation, which start starts.
type fileHandler func(w http.ResponseWriter, r *http.Request, start files.Start, op files.Op) error

// withFiles is a handler of requests about the files of a claim's sandbox, which is kept awake until do returns. Only the parameters that are
// allowed may be given.
func (a *api) withFiles(operation string, do fileHandler, allowed ...string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		claim, err := a.find(r)
		if err != nil {
			return err
		}
		op, err := files.ParseOp(operation, r.URL.RawQuery, allowed)
		if err != nil {
			return err
		}
		op.Step = a.Step
		who, _ := actorOf(r.Context())
		leave, err := a.crowd.execs.take(who)
		if err != nil {
			return err
		}
		defer leave()
		claim, done, err := a.use(r, claim)
		if err != nil {
			return err
		}
		defer done()
		start := func(ctx context.Context, spec runtime.ExecSpec) (files.Process, error) {
			return a.Exec(ctx, claim.Sandbox, spec)
		}
		err = do(w, r, start, op)
		_, sends := errors.AsType[*paced.UnreadError](err)
		if ended, is := errors.AsType[*files.EndedError](err); is && ended.Code >= 128 { // by a signal: perhaps with all of its sandbox
			err = cmp.Or(a.fate(r.Context(), claim), err)
		}
		if sends {
			return a.failWhileSending(w, r, err)
		}
		return err
	}
}

// tellFile answers with the file that an operation was about.
func tellFile(w http.ResponseWriter, r *http.Request, start files.Start, op files.Op) error {
	file, err := files.Do(r.Context(), start, op)
	if err != nil {
		return err
	}
	return answerJSON(w, http.StatusOK, file)
}

func removeFile(w http.ResponseWriter, r *http.Request, start files.Start, op files.Op) error {
	if err := files.Run(r.Context(), start, op); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// receiveFile takes the request's body as the content of a file, or as a tar stream.
func (a *api) receiveFile(w http.ResponseWriter, r *http.Request, start files.Start, op files.Op) error {
	body := paced.New(w, r, a.pace)
	file, err := files.Send(r.Context(), start, op, body)
	switch {
	case err != nil:
		return body.Failed(err)
	case op.Name == "unpack":
		w.WriteHeader(http.StatusNoContent)
		return nil
	default:
		return answerJSON(w, http.StatusOK, file)
	}
}
