// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Code that is in no program's file, and marks that are not the kernel's.

// listsBox is machine code that becomes `ls box`, wherever it lies.
func listsBox() []byte {
	code := []byte{0x6a, 0x00} // push 0
	data := map[string]int{}
	var fix []func()
	lea := func(reg byte, what string) { // lea reg, [rip+what]
		code = append(code, 0x48, 0x8d, reg, 0, 0, 0, 0)
		end := len(code)
		fix = append(fix, func() { binary.LittleEndian.PutUint32(code[end-4:], uint32(data[what]-end)) })
	}
	lea(0x05, "box")
	code = append(code, 0x50) // push rax
	lea(0x05, "ls")
	code = append(code, 0x50, 0x48, 0x89, 0xe6) // push rax; mov rsi, rsp
	lea(0x3d, "/bin/ls")
	code = append(code, 0x31, 0xd2, 0xb8, 59, 0, 0, 0, 0x0f, 0x05)         // execve(rdi, rsi, NULL)
	code = append(code, 0xbf, 1, 0, 0, 0, 0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05) // exit_group(1)
	for _, text := range []string{"/bin/ls", "ls", "box"} {
		data[text] = len(code)
		code = append(append(code, text...), 0)
	}
	for _, f := range fix {
		f()
	}
	return code
}

// library makes a shared object that runs code when it is loaded: one segment, and
// a dynamic section with nothing else in it. The format is that of elf(5).
func library(code []byte) []byte {
	const dynamic, text = 64 + 2*56, 64 + 2*56 + 5*16
	le := binary.LittleEndian
	out := append([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, make([]byte, 9)...)
	out = le.AppendUint16(out, 3)  // ET_DYN
	out = le.AppendUint16(out, 62) // x86-64
	out = le.AppendUint32(out, 1)
	for _, v := range []uint64{0, 64, 0} { // entry, program headers, sections
		out = le.AppendUint64(out, v)
	}
	out = le.AppendUint32(out, 0)
	for _, v := range []uint16{64, 56, 2, 0, 0, 0} {
		out = le.AppendUint16(out, v)
	}
	size := uint64(text + len(code))
	segment := func(kind, flags uint32, offset, size uint64) {
		out = le.AppendUint32(out, kind)
		out = le.AppendUint32(out, flags)
		for _, v := range []uint64{offset, offset, offset, size, size, 4096} {
			out = le.AppendUint64(out, v)
		}
	}
	segment(1, 7, 0, size)                                          // PT_LOAD, and the loader writes into the dynamic section
	segment(2, 6, dynamic, 5*16)                                    // PT_DYNAMIC
	for _, v := range []uint64{12, text, 5, 0, 6, 0, 10, 1, 0, 0} { // INIT, STRTAB, SYMTAB, STRSZ
		out = le.AppendUint64(out, v)
	}
	return append(out, code...)
}

// handledFormat has the kernel start ls for a file of a format of its own. Before
// Linux 6.7 the formats are the machine's: then only on one to spare.
const handledFormat = `mkdir -p formats; printf PDKX >handled; chmod 755 handled
cat >handle <<'END'
mount -t binfmt_misc none formats && { echo ":pdkx:M::PDKX::/bin/ls:" >formats/register; $PWD/handled box; }
END
unshare -Urm sh handle || { [ "$PADDOCK_VM" ] && unshare -m sh handle; }`

// A process is not known by its number alone: who gets that of a governed one is
// nobody's, and who is governed stays so under the number of somebody else.
func TestNumberUsedAgain(t *testing.T) {
	m := newMachine(t, lsForbidden)
	m.box()
	// as runs ls with a process ID of its choice; it says what it was in the way.
	as := func(pid int) string {
		return fmt.Sprintf(`exec perl -e '$n = pack("i", %d); $a = pack("Q11", 0, 0, 0, 0, 17, 0, 0, 0, unpack("Q", pack("P", $n)), 1, 0);
			$p = syscall(435, $a, 88); if ($p == 0) { exec "/bin/ls", "box"; exit } print "taken: $!\n" if $p != %[1]d; waitpid $p, 0' 2>&1`, pid)
	}
	ended := func(shell string) int {
		cmd := exec.Command(shell, "-c", "/bin/true; exit 0")
		must(t, cmd.Run())
		return cmd.Process.Pid
	}
	for range 20 {
		pid := ended(m.agent)
		m.wait("the end of the session", func(e telemetry.Event) bool {
			return e.Name == telemetry.NameSessionEnd && e.Attrs[telemetry.AttrProcessPID] == int64(pid)
		})
		out := m.free(as(pid))
		if strings.Contains(out, "taken") {
			continue // by somebody who was faster
		}
		if !strings.Contains(out, "marker-file") {
			t.Errorf("somebody was governed for having the number of a governed process: %q", out)
		}
		for range 20 {
			out, _ = m.run(as(ended("/bin/sh")))
			if !strings.Contains(out, "taken") {
				break
			}
		}
		if strings.Contains(out, "marker-file") || strings.Contains(out, "taken") {
			t.Errorf("ls ran, or could not be tried: %q", out)
		}
		return
	}
	t.Error("no number could be used again")
}

// What says in the environment of a process whose it is, is no reason to believe it.
func TestForgedEnvironment(t *testing.T) {
	m := newMachine(t, lsForbidden)
	m.box()
	forged := "env -i CODEX_THREAD_ID=00000000-0000-0000-0000-000000000000 CLAUDECODE=1 CLAUDE_CODE_CHILD_SESSION=1 container=docker PDK_TOOL_CALL=forged "
	if out := m.free(forged + "/bin/ls box"); !strings.Contains(out, "marker-file") {
		t.Errorf("somebody nobody governs was refused: %q", out)
	}
	out, _ := m.run(forged + "/bin/ls box; true")
	if strings.Contains(out, "marker-file") {
		t.Errorf("ls ran: %q", out)
	}
	start := m.wait("the session", func(e telemetry.Event) bool { return e.Name == telemetry.NameSessionStart })
	if ev := m.execOf("ls"); ev.Session != start.Session || ev.Attrs[telemetry.AttrAgent] != "test-agent" {
		t.Errorf("the event is of session %s, agent %v; the session is %s", ev.Session, ev.Attrs[telemetry.AttrAgent], start.Session)
	}
}

// What a session mounts is nobody else's: where a directory or a program is, its own mounts do not say for others.
func TestForgedPaths(t *testing.T) {
	m := newMachine(t, lsForbidden)
	m.box()
	must(t, os.WriteFile(filepath.Join(m.dir, "script"), []byte(`cd box; /bin/echo known
unshare -rm sh -c 'mkdir innocent && touch program && mount --bind $PWD innocent && mount --bind /bin/echo innocent/program && cd innocent && ./program forged'
/bin/echo end # the kernel remembers it
`), 0o666))
	out, _ := m.run("sh script; true")
	if !strings.Contains(out, "forged") {
		t.Fatalf("%q", out)
	}
	remembered := m.wait("the last command", func(e telemetry.Event) bool {
		args, _ := e.Attrs[telemetry.AttrProcessCommandArgs].([]string)
		return e.Name == telemetry.NameProcessExec && len(args) == 2 && args[1] == "end"
	})
	for attr, want := range map[string]string{telemetry.AttrProcessWorkingDir: "/box", telemetry.AttrProcessExecutablePath: "/echo"} {
		if path, _ := remembered.Attrs[attr].(string); !strings.HasSuffix(path, want) {
			t.Errorf("%s is %q, want it to end with %s", attr, path, want)
		}
	}
}
