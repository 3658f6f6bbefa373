// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"os"
	"testing"

	"github.com/seed-649e9bbc/paddock/tests/program"
)

// The smallest programs there are: what they cost is the kernel's exec alone, so
// whatever Paddock adds shows at its largest.

// exits does nothing: exit(0).
var exits = []byte{
	0x31, 0xff, // xor edi, edi
	0xb8, 0x3c, 0x00, 0x00, 0x00, // mov eax, 60 (exit)
	0x0f, 0x05, // syscall
}

// chain executes itself with argv[1] shortened by its first byte, until nothing
// is left of it: as many execs as argv[1] has bytes, and one exit.
var chain = []byte{
	0x48, 0x8b, 0x7c, 0x24, 0x08, // mov rdi, [rsp+8]   argv[0]
	0x48, 0xff, 0x44, 0x24, 0x10, // inc qword [rsp+16] argv[1]
	0x48, 0x8b, 0x44, 0x24, 0x10, // mov rax, [rsp+16]
	0x80, 0x38, 0x00, // cmp byte [rax], 0
	0x74, 0x15, // je exit
	0x48, 0x8d, 0x74, 0x24, 0x08, // lea rsi, [rsp+8]   argv
	0x31, 0xd2, // xor edx, edx       no environment
	0xb8, 0x3b, 0x00, 0x00, 0x00, // mov eax, 59 (execve)
	0x0f, 0x05, // syscall
	0xbf, 0x01, 0x00, 0x00, 0x00, // mov edi, 1: it failed
	0xeb, 0x02, // jmp over the next
	0x31, 0xff, // exit: xor edi, edi
	0xb8, 0x3c, 0x00, 0x00, 0x00, // mov eax, 60 (exit)
	0x0f, 0x05, // syscall
}

// writeProgram writes code as a static executable.
func writeProgram(t *testing.T, path string, code []byte) {
	t.Helper()
	must(t, os.WriteFile(path, program.Static(code), 0o755))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
