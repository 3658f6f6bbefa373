// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Ways to what processes of one user share without any file. KEY, MEMORY, QUEUE and
// MESSAGES are somebody's whom nobody governs.
var sharedAttacks = attempts{
	"A16 a key of the kernel":           `perl -e '$b = "\0" x 64; syscall(250, 11, KEY, $b, 64) > 0 and print "done\n"'`,
	"A16 shared memory of another":      `perl -e '$b = ""; shmread(MEMORY, $b, 0, 6) && $b eq "theirs" and print "done\n"'`,
	"A16 write to the memory":           `perl -e 'shmwrite(MEMORY, "theirs", 0, 6) and print "done\n"'`,
	"A16 mode of the memory":            `perl -e '$s = "\0" x 120; shmctl(MEMORY, 2, $s) and shmctl(MEMORY, 1, $s) and print "done\n"'`,
	"A16 a message for another":         `perl -e '$b = ""; msgrcv(MESSAGES, $b, 10, 0, 04000) and print "done\n"'`,
	"A16 a message for another (POSIX)": `perl -e '$n = "QUEUE"; syscall(240, $n, 04000, 0, 0) >= 0 and print "done\n"'`,
	"A16 memory without a name":         `head -c1 /proc/PID/fd/3 >/dev/null && echo done`,
	"A18 limits of another":             `prlimit --pid PID --nofile=100 && echo done`,
	"A18 processors of another":         `taskset -p 1 PID && echo done`,
	"A18 priority of another":           `renice -n 5 -p PID && ionice -c 3 -p PID && echo done`,
}

// What of it a session has for itself.
var sharedWork = attempts{
	"its own shared memory, messages and semaphores": `perl -e '$i = shmget(0, 4096, 01600) // die; $m = msgget(0, 01600) // die; $s = semget(0, 1, 01600) // die;
		if (!($p = fork)) { exit !(shmwrite($i, "ours", 0, 4) && msgsnd($m, pack("l! a*", 1, "x"), 0) && semop($s, pack("s3", 0, 1, 0))) } waitpid $p, 0; $ok = $? == 0;
		$b = ""; $ok &&= shmread($i, $b, 0, 4) && $b eq "ours" && msgrcv($m, $b, 10, 0, 0); shmctl($i, 0, 0) && msgctl($m, 0, 0) && semctl($s, 0, 0, 0) && $ok and print "done\n"'`,
	"its own keys":       `perl -e '$t = "user"; $d = "pdk"; $v = "x"; syscall(248, $t, $d, $v, 1, -2) > 0 and print "done\n"'`,
	"its own priorities": `sleep 100 & nice -n 1 true && renice -n 5 -p $! >/dev/null && prlimit --pid $! --nofile=100 && taskset -p 1 $! >/dev/null && ionice -c 3 -p $! && kill $! && echo done`,
}

// shared: what processes of one user share by other ways than files.
func (b *boundedMachine) shared(t *testing.T) {
	b.bound("")
	call := func(what string, number uintptr, args ...uintptr) uintptr {
		t.Helper()
		args = append(args, 0, 0, 0, 0, 0)
		r, _, errno := unix.Syscall6(number, args[0], args[1], args[2], args[3], args[4], 0)
		if errno != 0 {
			t.Fatalf("%s: %v", what, errno)
		}
		return r
	}
	key, err := unix.AddKey("user", "pdk-theirs", []byte("secret"), unix.KEY_SPEC_USER_SESSION_KEYRING)
	must(t, err)
	memory, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, unix.IPC_CREAT|0o600)
	must(t, err)
	segment, err := unix.SysvShmAttach(memory, 0, 0)
	must(t, err)
	copy(segment, "theirs")
	messages := call("a queue", unix.SYS_MSGGET, unix.IPC_PRIVATE, unix.IPC_CREAT|0o600)
	message := [2]uint64{1, 'x'}
	call("a message", unix.SYS_MSGSND, messages, uintptr(unsafe.Pointer(&message)), 1)
	queueName := fmt.Sprintf("pdk-%d", os.Getpid())
	text, err := unix.BytePtrFromString(queueName)
	must(t, err)
	queue := call("a queue by name", unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(text)), unix.O_CREAT|unix.O_RDWR, 0o600)
	t.Cleanup(func() {
		call("removing a queue by name", unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(text)))
		_ = unix.Close(int(queue))
		call("removing a queue", unix.SYS_MSGCTL, messages, unix.IPC_RMID)
		_, _ = unix.SysvShmCtl(memory, unix.IPC_RMID, nil)
		_ = unix.SysvShmDetach(segment)
	})
	hidden, err := unix.MemfdCreate("theirs", 0)
	must(t, err)
	f := os.NewFile(uintptr(hidden), "theirs")
	defer f.Close()
	_, err = f.WriteString("theirs")
	must(t, err)
	stranger := exec.Command("sleep", "infinity")
	stranger.ExtraFiles = []*os.File{f}
	must(t, stranger.Start())
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()

	all := attempts{}
	for name, script := range sharedAttacks {
		all[name] = strings.NewReplacer("PID", fmt.Sprint(stranger.Process.Pid), "KEY", fmt.Sprint(key), "MEMORY", fmt.Sprint(memory),
			"MESSAGES", fmt.Sprint(messages), "QUEUE", queueName).Replace(script)
	}
	b.fail(t, all)
	for _, operation := range []string{"key", "ipc", "priority"} {
		b.wait("the refusal of "+operation, func(e telemetry.Event) bool {
			return e.Name == telemetry.NameTamper && e.Attrs[telemetry.AttrTamperOperation] == operation
		})
	}
}
