// SPDX-License-Identifier: Apache-2.0

package telemetry

// Names of events. registry_kinds.go says which attributes each carries, and docs/events.md is made of it.
const (
	NameSessionStart    = "paddock.session.start"    // an agent started, or was found running
	NameSessionEnd      = "paddock.session.end"      // the last process of a session is gone
	NameProcessExec     = "paddock.process.exec"     // a governed process executed a program, or was kept from it
	NameProcessExit     = "paddock.process.exit"     // a governed process ended
	NameNetworkDecision = "paddock.network.decision" // a governed process reached out, or asked for a socket
	NameFileDecision    = "paddock.file.decision"    // a governed process was kept from a file or a service
	NamePolicyApplied   = "paddock.policy.applied"   // other requirements are in force
	NamePolicyRejected  = "paddock.policy.rejected"  // requirements could not be used
	NameCanaryResult    = "paddock.canary.result"    // a gate was tried
	NameTelemetryGap    = "paddock.telemetry.gap"    // events are missing
	NameDaemonStart     = "paddock.daemon.start"     // Paddock started
	NameDaemonStop      = "paddock.daemon.stop"      // Paddock stops in order
	NameDaemonHeartbeat = "paddock.daemon.heartbeat" // Paddock lives
	NameFileChanged     = "paddock.file.changed"     // a file that manages agents or Paddock changed
	NameHoldKilled      = "paddock.hold.killed"      // a process was killed before it was judged
	NameLaunch          = "paddock.launch.finding"   // an agent was started so as to slip its management
	NameTamper          = "paddock.tamper"           // a governed process reached for Paddock, or for one it holds

	NameApprovalRequested = "paddock.approval.requested" // somebody is asked, or a reviewer in the person's place
	NameApprovalAnswered  = "paddock.approval.answered"  // there is an answer
	NameApprovalExpired   = "paddock.approval.expired"   // nobody answered in time
	NameApprovalCancelled = "paddock.approval.cancelled" // no answer is needed any more
	NameApprovalOverflow  = "paddock.approval.overflow"  // a session asks too much: denied without asking, told once
	NameApprovalRefused   = "paddock.approval.refused"   // somebody answered who may not
	NameApprovalRevoked   = "paddock.approval.revoked"   // a remembered answer holds no more

	NameNetworkConnection = "paddock.network.connection" // a connection through the managed network ended, or was refused
	NameNetworkOpen       = "paddock.network.open"       // one is there for some time now, and has not ended
)
