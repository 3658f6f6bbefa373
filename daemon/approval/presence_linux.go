// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// presenceTime bounds how long somebody may take to enter a password.
const presenceTime = 2 * time.Minute

// Prove has a person prove to be there before a question of high risk is allowed:
// by polkit, which asks for a password. Where it cannot ask, terminal, the proof of a
// terminal nobody else types on, is enough; without that the answer is refused.
func (p *People) Prove(ctx context.Context, who Process, a *Approval, terminal string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, presenceTime)
	defer cancel()
	verdict, err := p.authorize(ctx, who, a)
	switch {
	case err == nil && verdict.authorized:
		return "polkit", nil
	case err == nil && !verdict.challenge:
		return "", refuse("polkit did not authorise it")
	case terminal != "":
		return terminal, nil
	case err != nil:
		return "", refuse("an action of the class %s needs proof of who allows it, and polkit cannot be had (%v): answer on a terminal, paddock approve %s", a.Risk, err, a.ID)
	}
	return "", refuse("an action of the class %s needs proof of who allows it, and polkit has no way to ask: answer on a terminal, paddock approve %s", a.Risk, a.ID)
}

// authorization is polkit's AuthorizationResult.
type authorization struct {
	authorized bool
	challenge  bool // it could be, if somebody could be asked
}

// authorize asks polkit (polkit(8), org.freedesktop.PolicyKit1.Authority) to
// authenticate the user of a process.
func (p *People) authorize(ctx context.Context, who Process, a *Approval) (authorization, error) {
	start, err := startOf(who.PID)
	if err != nil {
		return authorization{}, err
	}
	conn, err := p.systemBus(ctx)
	if err != nil {
		return authorization{}, err
	}
	defer conn.Close()
	type subject struct {
		Kind    string
		Details map[string]dbus.Variant
	}
	const allowInteraction = uint32(1)
	call := conn.Object("org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority").CallWithContext(ctx,
		"org.freedesktop.PolicyKit1.Authority.CheckAuthorization", 0,
		subject{"unix-process", map[string]dbus.Variant{
			"pid": dbus.MakeVariant(uint32(who.PID)), "start-time": dbus.MakeVariant(start), "uid": dbus.MakeVariant(int32(who.UID)),
		}},
		Action, map[string]string{"polkit.message": message(a)}, allowInteraction, "")
	var result struct {
		Authorized, Challenge bool
		Details               map[string]string
	}
	if err := call.Store(&result); err != nil {
		return authorization{}, err
	}
	return authorization{result.Authorized, result.Challenge}, nil
}

func (p *People) systemBus(ctx context.Context) (*dbus.Conn, error) {
	if p.Bus == "" {
		return dbus.ConnectSystemBus(dbus.WithContext(ctx))
	}
	return dbus.Connect(p.Bus, dbus.WithContext(ctx))
}

// message is what the password is asked for. polkit replaces $(...) in it.
func message(a *Approval) string {
	q := Question{Kind: a.Kind, Subject: a.Subject, Agent: a.Agent, Project: a.Project}
	return fmt.Sprintf("%s asks for approval (%s): %s", quoteWord(a.Agent), a.Risk, strings.ReplaceAll(describe(&q), "$", "\uFF04"))
}

// startOf is when a process started, in ticks since boot, as polkit counts.
func startOf(pid int) (uint64, error) {
	raw, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("reading /proc/%d/stat: %d fields", pid, len(fields))
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
