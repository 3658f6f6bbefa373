// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"fmt"
	"strings"
)

// ocsfVersion is the version of OCSF that is written.
const ocsfVersion = "1.8.0"

// encodeOCSF writes events in the Open Cybersecurity Schema Framework. Kind.OCSF
// says in which class, Attribute.OCSF where an attribute is; whatever has no
// place of its own is below unmapped, under its own name.
func encodeOCSF(resource map[string]any, events []Event) ([]byte, error) {
	var out []byte
	for i := range events {
		line, err := json.Marshal(ocsf(resource, &events[i]))
		if err != nil {
			return nil, fmt.Errorf("event %s cannot be written as OCSF: %w", events[i].ID, err)
		}
		out = append(append(out, line...), '\n')
	}
	return out, nil
}

type object = map[string]any

// Values of OCSF's enumerations.
const (
	severityInformational = 1
	severityMedium        = 3
	severityHigh          = 4

	statusSuccess = 1
	statusFailure = 2

	actionAllowed  = 1
	actionDenied   = 2
	actionObserved = 3

	dispositionAllowed = 1
	dispositionBlocked = 2

	deviceDesktop = 2

	directionOutbound = 2
	fileRegular       = 1
	hashSHA256        = 3 // of the object fingerprint
	roleAgent         = 4
)

func ocsf(resource map[string]any, e *Event) object {
	class := base
	if k := kindsByName[e.Name]; k != nil {
		class = k.OCSF
	}
	refused, decided := refusedBy(e)
	activity := class.Activity
	if refused {
		activity = class.Refused
	}
	out := object{
		"class_uid": class.UID, "class_name": class.Name, "category_uid": class.Category,
		"activity_id": activity, "type_uid": class.UID*100 + activity, "time": e.Time.UnixMilli(),
		"severity_id": ocsfSeverity(e.Severity), "severity": e.Severity.String(),
		"metadata": object{
			"version": ocsfVersion, "uid": e.ID, "sequence": e.Seq, "log_name": e.Name, "profiles": []string{"host", "security_control"},
			"product": object{"name": "Paddock", "vendor_name": "Paddock", "version": resource["service.version"]},
		},
		"device": object{"hostname": resource["host.name"], "type_id": deviceDesktop, "os": object{"name": resource["os.type"], "version": resource["os.version"], "type_id": osType(resource["os.type"])}},
	}
	if activity == 99 {
		out["activity_name"] = e.Name
	}
	if e.Session != "" {
		put(out, "actor.session.uid", e.Session)
	}
	if decided {
		verdict(out, e, refused)
	}
	unmapped := object{}
	for name, value := range e.Attrs {
		if a := attributesByName[name]; a == nil || !place(out, class, a, value) {
			unmapped[name] = value
		}
	}
	if len(unmapped) > 0 {
		out["unmapped"] = unmapped
	}
	require(out, class, e)
	return out
}

// apiActivity is the class of what agents tell of tools and models.
const apiActivity = 6003

// require adds what OCSF wants of each object and class, where no attribute says it.
func require(out object, class Class, e *Event) {
	agent, _ := e.Attrs[AttrAgent].(string)
	if agent == "" {
		agent = "unknown"
	}
	put1 := func(path string, value any) {
		if !there(out, path) {
			put(out, path, value)
		}
	}
	switch class.UID {
	case launch.UID:
		put1("process.pid", 0)
	case fileActivity.UID:
		put1("file.path", "unknown")
	case connection.UID:
		if there(out, "connection_info") {
			put1("connection_info.direction_id", directionOutbound)
		}
	case finding.UID:
		out["finding_info"] = object{"uid": e.ID, "title": e.Name}
	case lifecycle.UID:
		out["app"] = out["metadata"].(object)["product"]
	case apiActivity:
		put1("api.operation", e.Name)
		put(out, "message_context.service.name", agent)
		put(out, "message_context.ai_role_id", roleAgent)
		if thread, ok := e.Attrs[AttrThreadID].(string); ok {
			put(out, "message_context.uid", thread)
		}
		put(out, "metadata.profiles", []string{"host", "security_control", "ai_operation"})
	}
	if class.UID == connection.UID || class.UID == apiActivity {
		put(out, "src_endpoint.hostname", out["device"].(object)["hostname"]) // this machine
	}
	if class.UID != base.UID {
		put1("actor.app_name", agent)
	}
	for _, at := range []string{"", "actor."} {
		if there(out, at+"process") {
			describeFile(out, at+"process.file", fileRegular)
		}
	}
	describeFile(out, "file", 0)
}

// describeFile adds the name and kind of a file that an object speaks of.
func describeFile(out object, at string, kind int) {
	if !there(out, at) {
		return
	}
	name := ""
	for _, from := range []string{at + ".path", at + ".uid"} {
		if s, ok := get(out, from).(string); ok && name == "" {
			name = s[strings.LastIndexByte(s, '/')+1:]
		}
	}
	put(out, at+".name", name)
	put(out, at+".type_id", kind)
}

// get returns what is at a dotted path; nil: nothing.
func get(out object, path string) any {
	var value any = out
	for part := range strings.SplitSeq(path, ".") {
		inner, ok := value.(object)
		if !ok {
			return nil
		}
		value = inner[part]
	}
	return value
}

func there(out object, path string) bool { return get(out, path) != nil }

// place puts an attribute where OCSF has it, and says whether it could.
func place(out object, class Class, a *Attribute, value any) bool {
	path := a.OCSF
	switch path {
	case "", "action", "metadata.uid":
		return false
	case "process.cmd_line":
		list, _ := value.([]string)
		value = strings.Join(list, " ")
	case "file.hashes.value":
		path, value = "file.hashes", []object{{"algorithm": "SHA-256", "algorithm_id": hashSHA256, "value": value}}
	}
	first, _, _ := strings.Cut(path, ".")
	if first == "process" && class.UID != launch.UID {
		if class.UID == base.UID {
			return false
		}
		path = "actor." + path
	}
	if only, limited := onlyIn[first]; limited && only != class.UID {
		return false
	}
	if strings.HasSuffix(path, ".uid") {
		value = fmt.Sprint(value) // a text, always
	}
	put(out, path, value)
	return true
}

// onlyIn says which class has an object at all, of those that not every class has.
var onlyIn = map[string]int{
	"file": fileActivity.UID, "query": 4003, "firewall_rule": connection.UID, "dst_endpoint": connection.UID, "connection_info": connection.UID,
	"traffic": connection.UID, "api": apiActivity, "message_context": apiActivity,
}

// put sets a value at a dotted path, unless something else is on the way.
func put(out object, path string, value any) {
	for {
		first, rest, more := strings.Cut(path, ".")
		if !more {
			out[first] = value
			return
		}
		inner, ok := out[first].(object)
		if !ok {
			inner = object{}
			out[first] = inner
		}
		out, path = inner, rest
	}
}

// refusedBy says whether an event tells of a decision, and whether that was to
// refuse.
func refusedBy(e *Event) (refused, decided bool) {
	decision, decided := e.Attrs[AttrDecision].(string)
	approved := decision == "prompt" && e.Attrs[AttrApprovalState] == "allowed"
	return decided && decision != "allow" && !approved, decided
}

// verdict writes OCSF's profile security_control.
func verdict(out object, e *Event, refused bool) {
	enforced, said := e.Attrs[AttrDecisionEnforced].(bool)
	action, disposition, status := actionAllowed, dispositionAllowed, statusSuccess
	switch {
	case refused && said && !enforced:
		action = actionObserved
	case refused:
		action, disposition, status = actionDenied, dispositionBlocked, statusFailure
	}
	out["action_id"], out["disposition_id"], out["status_id"] = action, disposition, status
	if rule, ok := e.Attrs[AttrRule].(string); ok {
		put(out, "authorizations", []object{{"decision": e.Attrs[AttrDecision], "policy": object{"name": rule, "uid": e.Attrs[AttrDecisionSource]}}})
	}
}

func ocsfSeverity(s Severity) int {
	switch s {
	case Warn:
		return severityMedium
	case Error:
		return severityHigh
	}
	return severityInformational
}

// osType is OCSF's os.type_id.
func osType(name any) int {
	switch name {
	case "linux":
		return 200
	case "darwin":
		return 300
	}
	return 0
}
