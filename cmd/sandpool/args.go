package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// many is no bound of arguments.
const many = -1

// whichClaim asks for a claim that is missing.
const whichClaim = "which claim? `sandpool ls` shows them"

// needs bounds the arguments of a command. Where some are missing, missing says what, one text for each of the first of them.
func needs(most int, missing ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(missing):
			return errors.New(missing[len(args)])
		case most != many && len(args) > most:
			return fmt.Errorf("unexpected argument %q", args[most])
		default:
			return nil
		}
	}
}

// commandLine takes the arguments of a command apart that runs another one in a claim's sandbox. Flags may be in front of the claim and
// behind it; the first word behind that is none begins the command, and so does what is behind --.
func commandLine(cmd *cobra.Command, args []string) (claim string, command []string, err error) {
	claim, command = args[0], args[1:]
	if cmd.ArgsLenAtDash() < 0 { // else all flags are in front of the --
		if err := cmd.Flags().Parse(command); err != nil {
			return "", nil, usageError{err}
		}
		if help, _ := cmd.Flags().GetBool("help"); help {
			return "", nil, pflag.ErrHelp
		}
		command = cmd.Flags().Args()
	}
	if len(command) == 0 {
		return "", nil, usageError{errors.New("which command? It comes behind the claim: `" + cmd.CommandPath() + " " + claim + " COMMAND`")}
	}
	if err := cmd.ValidateFlagGroups(); err != nil {
		return "", nil, usageError{err}
	}
	return claim, command, nil
}

// unknown names an argument that a command does not take, with what may have been meant.
func unknown(cmd *cobra.Command, args []string, meant string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unknown command %q for %q: %s", args[0], cmd.CommandPath(), meant)
}
