package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sandpool/daemon/wire"
)

// mostEchoes is how many processes a tenant starts beside its command.
const mostEchoes = 3

var (
	counting = []string{"sh", "-c", `i=0; while :; do echo "$i"; i=$((i+1)); sleep 0.2; done`}
	echoing  = []string{"sh", "-c", `while read -r line; do echo "$line"; done`}
)

// counter is a process that writes numbers, and what of them was answered to its follower.
type counter struct {
	pid   int // 0: unknown
	heard []byte
}

// echo is a process that repeats what it is told: numbers.
type echo struct {
	pid  int
	next int
	told []int // of which was answered that they were taken
}

// follow reads what the counter writes, from where it was heard last.
func (t *Tenant) follow(ctx context.Context) error {
	if t.counter.pid == 0 {
		all, err := t.client.Processes(ctx, t.claim)
		if err != nil {
			return err
		}
		if t.counter.pid, err = only(all); err != nil {
			return err
		}
	}
	_, _, err := t.client.ProcessOutput(ctx, t.claim, t.counter.pid, int64(len(t.counter.heard)), true, func(o wire.ProcessOutput) error {
		return add(&t.counter.heard, o)
	})
	return err
}

// add adds output to what came before it.
func add(all *[]byte, o wire.ProcessOutput) error {
	if o.Dropped > 0 || o.Position != int64(len(*all)) {
		return fmt.Errorf("output at %d follows on %d bytes, and %d were dropped", o.Position, len(*all), o.Dropped)
	}
	*all = append(*all, o.Data...)
	return nil
}

// only returns the counter, of which there must be one.
func only(all []wire.Process) (pid int, err error) {
	counters := slices.DeleteFunc(slices.Clone(all), func(p wire.Process) bool { return !p.Supervised || !slices.Equal(p.Args, counting) })
	if len(counters) != 1 {
		return 0, fmt.Errorf("the claim's command runs %d times: %+v", len(counters), all)
	}
	return counters[0].PID, nil
}

func (t *Tenant) startEcho(ctx context.Context) error {
	if len(t.echoes) == mostEchoes {
		return nil
	}
	p, err := t.client.StartProcess(ctx, t.claim, wire.ProcessRequest{ExecRequest: wire.ExecRequest{Args: echoing}, Input: true})
	if err == nil {
		t.echoes = append(t.echoes, &echo{pid: p.PID})
	}
	return err
}

// speak tells the last echo a number. One that was not answered is not told again.
func (t *Tenant) speak(ctx context.Context) error {
	if len(t.echoes) == 0 {
		return nil
	}
	e := t.echoes[len(t.echoes)-1]
	number := e.next
	e.next++
	err := t.client.FeedProcess(ctx, t.claim, e.pid, fmt.Appendln(nil, number))
	if err == nil {
		e.told = append(e.told, number)
	}
	return err
}

func (t *Tenant) checkProcesses(ctx context.Context) error {
	all, err := t.client.Processes(ctx, t.claim)
	if err != nil {
		return err
	}
	pid, err := only(all)
	if err == nil && t.counter.pid != 0 && t.counter.pid != pid {
		err = fmt.Errorf("the claim's command was process %d and is %d", t.counter.pid, pid)
	}
	if err != nil {
		return err
	}
	t.counter.pid = pid
	errs := []error{t.checkCounter(ctx)}
	for _, e := range t.echoes {
		if !slices.ContainsFunc(all, func(p wire.Process) bool { return p.PID == e.pid && p.Supervised && p.EndedAt == nil }) {
			errs = append(errs, fmt.Errorf("process %d is not among %+v", e.pid, all))
			continue
		}
		errs = append(errs, t.checkEcho(ctx, e))
	}
	return errors.Join(errs...)
}

// output returns what a process wrote from a position on.
func (t *Tenant) output(ctx context.Context, pid, since int) ([]byte, error) {
	all := make([]byte, since)
	_, p, err := t.client.ProcessOutput(ctx, t.claim, pid, int64(since), false, func(o wire.ProcessOutput) error { return add(&all, o) })
	if err == nil && p.EndedAt != nil {
		err = fmt.Errorf("process %d has ended: %+v", pid, *p)
	}
	return all[since:], err
}

// checkCounter looks whether all that was heard is kept, and the counter goes on from there.
func (t *Tenant) checkCounter(ctx context.Context) error {
	heard := t.counter.heard
	kept, err := t.output(ctx, t.counter.pid, 0)
	if err != nil {
		return err
	}
	more, err := t.output(ctx, t.counter.pid, len(heard))
	if err != nil {
		return err
	}
	if all := slices.Concat(heard, more); !bytes.HasPrefix(all, kept) || len(kept) <= len(heard) {
		return fmt.Errorf("process %d was heard to say %q; it keeps %q, and then says %q", t.counter.pid, heard, kept, more)
	}
	return counts(kept)
}

// counts tells whether output is the numbers from 0 on. The last one may be cut off.
func counts(output []byte) error {
	lines := strings.Split(string(output), "\n")
	for i, line := range lines[:len(lines)-1] {
		if line != strconv.Itoa(i) {
			return fmt.Errorf("line %d of the counter is %q", i, line)
		}
	}
	return nil
}

func (t *Tenant) checkEcho(ctx context.Context, e *echo) error {
	out, err := t.output(ctx, e.pid, 0)
	if err != nil {
		return err
	}
	said, err := repeated(out)
	if err != nil {
		return err
	}
	for _, number := range e.told {
		if !said[number] {
			return fmt.Errorf("process %d took %v and says %q: %d is missing", e.pid, e.told, out, number)
		}
	}
	return nil
}

// repeated returns the numbers that an echo says: each once, in the order in which they were told.
func repeated(output []byte) (map[int]bool, error) {
	said, last := map[int]bool{}, -1
	for line := range strings.FieldsSeq(string(output)) {
		number, err := strconv.Atoi(line)
		if err != nil || number <= last {
			return nil, fmt.Errorf("an echo says %q", output)
		}
		said[number], last = true, number
	}
	return said, nil
}
