package runtime

import "fmt"

// The steps from a template to a sandbox that can be handed out, in their order.
const (
	StepImage    = "image"    // the image is found and unpacked
	StepSettings = "settings" // user, mounts and platform
	StepCreate   = "create"   // the sandbox's files, and containerd's record of it
	StepStart    = "start"    // shim, sentry and gofer
	StepProbe    = "probe"    // the template's command, and a first process by exec
	StepNetwork  = "network"  // what it reaches outside
	StepPrewarm  = "prewarm"
	StepReady    = "ready"
)

// StepError is why a template cannot be used or a sandbox did not start, and the step that failed.
type StepError struct {
	Step string
	Err  error // its text names the step, too
}

func (e *StepError) Error() string { return e.Err.Error() }

func (e *StepError) Unwrap() error { return e.Err }

// atStep says which step failed. Without an error there is none.
func atStep(step, doing string, err error) error {
	if err == nil {
		return nil
	}
	if doing != "" {
		err = fmt.Errorf("%s: %w", doing, err)
	}
	return &StepError{step, err}
}

// With is cause, at the same step.
func (e *StepError) With(cause error) error { return atStep(e.Step, e.Step, cause) }
