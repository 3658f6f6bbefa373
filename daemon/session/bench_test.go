// SPDX-License-Identifier: Apache-2.0

package session

import "testing"

// Every node on the machine is looked at when it starts, agent or not.
func BenchmarkRecogniseOther(b *testing.B) {
	p := embeddedProfiles(b)
	proc := Process{
		Exe: "/home/user/.nvm/versions/node/v24.1.0/bin/node", Called: "/home/user/.nvm/versions/node/v24.1.0/bin/node", Cwd: "/home/user/src/project",
		Args: argv("node --enable-source-maps /home/user/src/project/node_modules/typescript/bin/tsc --build --watch packages/core"),
	}
	for b.Loop() {
		if _, ok := p.Recognise(proc); ok {
			b.Fatal("tsc is no agent")
		}
	}
}

// Every exec in a session asks this.
func BenchmarkMayBe(b *testing.B) {
	p := embeddedProfiles(b)
	for b.Loop() {
		if p.MayBe("tsc", "/home/user/src/project/node_modules/.bin/tsc", "/home/user/src/project/node_modules/typescript/bin/tsc") {
			b.Fatal("tsc is no agent")
		}
	}
}
