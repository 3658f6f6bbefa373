// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"os"
	"testing"
	"time"
)

// anywhere matches tests of what the daemon does with what any kernel tells it. They run natively, and to emulate them
// takes as long as all that hangs on the kernel: only who names kernels in KERNELS has them emulated too.
const anywhere = `^Test(SwappingPoliciesUnderLoad|EscapeIsRecorded|ScriptsHandedToTheirInterpreter|ProgramsInstalledLater|` +
	`KilledWhileJudgedLeavesNoMark|OwnFileSystemIsNotRemembered|ForgedEnvironment|NumberUsedAgain|RiskIsOfWhatRuns|` +
	`ForbiddenInEveryDisguise|PlaceThatHangs|BlockedProgramSaysWhy|ReasonIsNotSaidInTheDaemonsName|ObserveLetsThroughAndTells|` +
	`AgentBehindAWrapper|AgentBecomesSession|ChangedProgramIsJudgedAnew|NetworkRules|UnspecifiedAddressReachesBothLoopbacks|` +
	`NobodyToAskKills|CachedDecisionIsNotAskedAgain|KilledProcessNeverRan|RepeatedCommandIsAllowedInTheKernel|` +
	`NewPolicyHoldsAtOnce|LookIsBounded|ForgedPaths|` +
	`WorkTreesAreRemembered|TooManyWorkTrees|GitDirectories|ProjectsOfAnyName|FindProject|MatchParts|Mounts|InLayers|` +
	`LinksLeadNowhere|Clock|ScriptsGiven|InterpretersOf|WhatPeopleMeanByAWord|CatalogReadsOnlyPrograms|CatalogDeniesNoAllowedPath|MayRead|GiveBackMemory.*|Doubt|Preemption)$`

// cgroups matches tests of programs of cgroups, and of what is read from the kernel, in which security hooks have no part: a
// kernel says the same of them whatever its list of LSMs.
const cgroups = `^Test(ConnectVerdicts|ConnectionsAreSentHome|DNSIsSentHome|UringIsSentHome|ManagedNetworkRefuses|ManagedNetworkFailsClosed|` +
	`UnmanagedGenerationRedirectsNothing|OtherDatagramsOfTheSameSocketLeave|OtherNamespacesAreRefused|OtherNamespacesHaveTheirOwn|` +
	`OwnServicesKnowTheirClients|ASessionReachesItself|OthersAreNotTheSession|WhoTakesThePortGetsNothing|FastOpen|` +
	`AServerForDatagramsAnswersItsClients|WokenProcess.*|` +
	`SubvolumesAreToldApart|CalledNames|ExecRecordsHaveWhatTheySay|IdentifyAgreesWithTheExecHook|MarksAreCounted)$`

// modes is what takes longest of TestBoundary. It hangs on the mechanism no more than the rest, so one kernel is enough.
const modes = `^TestBoundary$/^modes$`

// twice is what the mechanism has no part in, but being there: it is enough once for each kernel, and takes a minute.
const twice = `^TestRemembered$`

// overlays are what TestBoundary does on overlays and does not do on the first, second and third kernel: the mechanism
// does not matter, and each takes ten seconds.
var overlays = []string{"(numbers|two|container)", "(one|two)", "(numbers|one|container)"}

// TestEveryKernel runs what touches the kernel on each of the kernels: the
// tests are those that run natively too, but here LSM and fmod_ret exist, and
// the tests demand the better of the two that the kernel can have. An emulator
// takes one processor, so that as many kernels run at a time as there are.
func TestEveryKernel(t *testing.T) {
	t.Parallel()
	ran := map[string]bool{}
	for i, cfg := range Kernels(t) {
		if os.Getenv("KERNELS") == "" {
			cfg.Skip = anywhere
			if i > 0 {
				cfg.Skip += "|" + modes
			}
			if i < len(overlays) {
				cfg.Skip += "|^TestBoundary$/^overlay$/" + overlays[i]
			}
			if ran[cfg.Kernel] {
				cfg.Skip += "|" + cgroups + "|" + twice
			}
		}
		ran[cfg.Kernel] = true
		t.Run(cfg.Name(), func(t *testing.T) {
			t.Parallel()
			cfg.Timeout = 15 * time.Minute
			t.Run("ebpf", func(t *testing.T) { RunTests(t, cfg, "./ebpf", ".") })
			t.Run("enforce", func(t *testing.T) { RunTests(t, cfg, "./daemon/enforce", ".") })
		})
	}
}
