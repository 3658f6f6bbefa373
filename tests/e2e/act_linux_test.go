// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// act is what this binary does as somebody else: an attacker, a client. It
// returns an exit code.
func act(name string, args []string) int {
	var err error
	switch name {
	case "act-exec":
		err = actExec(args[0], args[1:])
	case "act-storm":
		err = actStorm(args)
	case "act-datagram":
		err = actDatagram(args)
	case "act-cling":
		err = actCling(args[0], args[1:])
	case "act-answer":
		err = actAnswer(args[0], args[1])
	case "act-prompt":
		err = actPrompt(args[0], args[1])
	case "act-tool":
		err = actTool(args[0], args[1], args[2])
	case "act-trace":
		err = actTrace(args[0])
	case "act-relay":
		err = actRelay(args[0], args[1:])
	default:
		err = fmt.Errorf("unknown act %s %q", name, args)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// kilo100 is an argument near the longest there is (128 KiB).
var kilo100 = strings.Repeat("x", 100<<10)

// actExec executes a program with arguments no shell would pass.
func actExec(how string, line []string) error {
	path, rest := line[0], line[1:]
	argv := append([]string{path}, rest...)
	env := os.Environ()
	// A quarter of the stack's limit, but never more than 6 MiB, is for arguments.
	if err := unix.Setrlimit(unix.RLIMIT_STACK, &unix.Rlimit{Cur: 64 << 20, Max: unix.RLIM_INFINITY}); err != nil {
		return err
	}
	switch {
	case how == "plain":
	case how == "huge-end": // 2.2 MB after what counts
		for range 22 {
			argv = append(argv, kilo100)
		}
	case how == "long-before": // 100 KiB before what counts, at the end
		n := len(argv)
		argv = slices.Insert(argv, n-1, kilo100)
	case how == "huge-environment":
		var all []string
		for i := range 15 {
			all = append(all, fmt.Sprintf("JUNK%d=%s", i, kilo100))
		}
		env = append(all, env...)
	case how == "huge-name": // before what counts
		argv[0] = kilo100
	case strings.HasPrefix(how, "name-"): // of this many bytes
		n, err := strconv.Atoi(how[len("name-"):])
		if err != nil {
			return err
		}
		argv[0] = strings.Repeat("n", n)
	case how == "huge-loader": // 2.1 MB before the program the loader is to run
		argv = []string{path}
		for range 21 {
			argv = append(argv, "--library-path", kilo100)
		}
		argv = append(argv, rest...)
	case how == "empty-name":
		argv[0] = ""
	case how == "no-arguments":
		argv = nil
	case how == "not-utf8":
		argv = append(argv, "\xff\xfe\x80caf\xe9")
	case how == "relative": // from where path is, however deep
		dirs := strings.Split(path, "/")
		for _, d := range dirs[:len(dirs)-1] {
			if d == "" {
				d = "/"
			}
			if err := unix.Chdir(d); err != nil {
				return fmt.Errorf("chdir %.20s: %w", d, err)
			}
		}
		path = "./" + dirs[len(dirs)-1]
	default:
		return fmt.Errorf("unknown way %q", how)
	}
	return fmt.Errorf("executing %.40s: %w", path, unix.Exec(path, argv, env))
}
