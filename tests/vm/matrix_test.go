// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"os"
	"path"
	"path/filepath"
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
	`NewPolicyHoldsAtOnce|LookIsBounded|ForgedPaths|PersonDecides|WhoItRunsAsIsSaid|ProgramsOfManyNames|` +
	`WorkTreesAreRemembered|TooManyWorkTrees|GitDirectories|ProjectsOfAnyName|FindProject|MatchParts|Mounts|InLayers|` +
	`LinksLeadNowhere|Clock|ScriptsGiven|InterpretersOf|WhatPeopleMeanByAWord|CatalogReadsOnlyPrograms|CatalogDeniesNoAllowedPath|MayRead|GiveBackMemory.*|Doubt|Preemption|GovernedLaterHasOneStart|EndTellsAllThatWasRefused|BegunSessionIsNotOver|WhatRunsNextIsNotTakenForIt)$`

// first matches what security hooks have no part in (programs of cgroups, what is read from the kernel): the first of the
// kernels is enough, beside the one that the tests run on natively.
const first = `^Test(ConnectVerdicts|DeniedDestinationCannotBeReached|ConnectionsAreSentHome|DNSIsSentHome|UringIsSentHome|ManagedNetworkRefuses|ManagedNetworkFailsClosed|` +
	`UnmanagedGenerationRedirectsNothing|OtherDatagramsOfTheSameSocketLeave|OtherNamespacesAreRefused|OtherNamespacesHideNobody|OtherNamespacesHaveTheirOwn|` +
	`OwnServicesKnowTheirClients|ASessionReachesItself|OthersAreNotTheSession|WhoTakesThePortGetsNothing|FastOpen|` +
	`AServerForDatagramsAnswersItsClients|` +
	`SubvolumesAreToldApart|CalledNames|ExecRecordsHaveWhatTheySay|IdentifyAgreesWithTheExecHook|MarksAreCounted)$`

// newest matches what takes longest and needs what only some of the kernels have, whatever their list of LSMs: processes that
// are held and woken, and what is remembered of a boundary. The newest is enough.
const newest = `^Test(HoldCannotBeEscaped|WokenProcess.*|Remembered)$`

// elsewhere is what is not done on the first, second and third kernel, of TestBoundary above all: it is done on another of them,
// and for it the mechanism does not matter, or is the same there.
var elsewhere = []string{
	"^TestBoundary$/^(strangers|shared|handed_over|for_the_next_session)$|^TestBoundary$/^overlay$/(numbers|two|container)",
	"^TestBoundary$/^(honest_work|modes|handed_over)$|^TestBoundary$/^overlay$/(one|two)",
	"^TestBoundary$/^(modes|shared|for_the_next_session)$|^TestBoundary$/^overlay$/(numbers|one|container)|^TestWork$",
}

// TestEveryKernel runs what touches the kernel on each of the kernels: the
// tests are those that run natively too, but here LSM and fmod_ret exist, and
// the tests demand the better of the two that the kernel can have. An emulator
// takes one processor, so that as many machines run at a time as there are.
func TestEveryKernel(t *testing.T) {
	t.Parallel()
	kernels := Kernels(t)
	few := os.Getenv("KERNELS") == ""
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{"./daemon/enforce", "./ebpf"} {
		compiled := filepath.Join(t.TempDir(), testBinary) // once for all kernels
		if err := compile(t.Context(), root, pkg, compiled); err != nil {
			t.Fatal(err)
		}
		for i, cfg := range kernels {
			if few {
				cfg.Skip = anywhere + "|" + elsewhere[i]
				if i > 0 {
					cfg.Skip += "|" + first
				}
				if i < len(kernels)-1 {
					cfg.Skip += "|" + newest
				}
			}
			cfg.Compiled = compiled
			cfg.Timeout = 15 * time.Minute
			t.Run(cfg.Name()+"-"+path.Base(pkg), func(t *testing.T) {
				t.Parallel()
				RunTests(t, cfg, pkg, ".")
			})
		}
	}
}
