// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
	"github.com/seed-649e9bbc/paddock/daemon/policy/document"
)

// What shells offer behind a command.

type completion = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective)

// filesOf offers files whose names end in one of these.
func filesOf(endings ...string) completion {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return endings, cobra.ShellCompDirectiveFilterFileExt
	}
}

func directories(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// oneKey offers the keys of requirements.toml, level by level.
func oneKey(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	dot := strings.LastIndexByte(typed, '.')
	possible, prefix := codex.KeyNames(policy.Keys()), ""
	if dot >= 0 {
		names, err := document.SplitKey(typed[:dot])
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		_, way, bad, _ := codex.Find(policy.Keys(), names)
		if bad != "" {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		possible, prefix = codex.Names(way[len(way)-1].Shape.Inner()), typed[:dot+1]
	}
	var out []string
	for _, name := range possible {
		if key := prefix + name; strings.HasPrefix(key, typed) && !strings.ContainsAny(name, "[]") {
			out = append(out, key)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// asWhom offers what --as takes, behind what is there already.
func asWhom(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	done := typed[:strings.LastIndexByte(typed, ',')+1]
	var out []string
	for _, name := range []string{"host=", "user=", "group=", "machine-id="} {
		if strings.HasPrefix(done+name, typed) {
			out = append(out, done+name)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// offer sets what is offered behind a flag, which the command has.
func offer(cmd *cobra.Command, flag string, c completion) {
	if err := cmd.RegisterFlagCompletionFunc(flag, c); err != nil {
		panic(err) // the flag was not defined before
	}
}
