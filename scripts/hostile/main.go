// Command hostile attacks a sandpoold on the real stack and counts what gets through: `make test-hostile` runs it.
//
// The attacker is an ordinary user of the socket, and root in its own sandboxes. The victim is another user. Each attack is a function
// that also looks, from the victim's or the host's side, whether it got through; one that could not be made fails the suite.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"sandpool/scripts/testhost"
)

var errThrough = errors.New("some attacks got through, or could not be made")

func main() {
	only := flag.String("only", "", "make the attacks whose names match a regular `expression`")
	daemon := flag.String("daemon", "", "attack this sandpoold `program` instead of the one that was built")
	list := flag.Bool("list", false, "list the attacks and make none")
	flag.Parse()
	testhost.ClearEnv()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *only, *daemon, *list)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
}

// run makes the attacks that are chosen and prints the table.
func run(ctx context.Context, only, daemon string, list bool) (err error) {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("read -only: %w", err)
	}
	chosen := slices.DeleteFunc(slices.Clone(attacks), func(a attack) bool { return !pattern.MatchString(a.name) })
	if len(chosen) == 0 {
		return fmt.Errorf("no attack matches %q: -list shows them all", only)
	}
	if list {
		for _, a := range chosen {
			fmt.Println(a.name)
		}
		return nil
	}
	began := time.Now()
	g, err := openGround(ctx, daemon)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	var results []result
	for _, a := range chosen {
		if context.Cause(ctx) != nil {
			return context.Cause(ctx)
		}
		results = append(results, g.attempt(ctx, a))
	}
	if err := report(results); err != nil {
		return err
	}
	fmt.Printf("\n%d attacks, %s\n", len(results), time.Since(began).Round(time.Second))
	if slices.ContainsFunc(results, func(r result) bool { return !r.held() }) {
		g.host.ShowLogs(20)
		return errThrough
	}
	return nil
}

// report prints the table, and below it what got through and what could not be made.
func report(results []result) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprint(table, "\n| attack\t| tries\t| got through\t|\n|---\t|---\t|---\t|\n")
	for _, r := range results {
		fmt.Fprintf(table, "| %s\t| %d\t| %s\t|\n", r.name, r.tries, r.verdict())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		for _, what := range r.got {
			fmt.Printf("\ngot through: %s: %s", r.name, what)
		}
		if r.err != nil {
			fmt.Printf("\nnot made: %s: %s", r.name, strings.TrimSpace(r.err.Error()))
		}
	}
	fmt.Println()
	return nil
}
