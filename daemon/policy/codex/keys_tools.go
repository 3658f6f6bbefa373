// SPDX-License-Identifier: Apache-2.0

package codex

// Events lists the events hooks can be for, in the order of Codex's API.
var Events = []string{
	"PreModelRequest", "PostModelRequest", "PreToolUse", "PermissionRequest", "PostToolUse", "PreCompact", "PostCompact", "SessionStart",
	"SessionEnd", "UserPromptSubmit", "SubagentStart", "SubagentStop", "Stop", "Interrupt",
}

var (
	typeField    = Field{Name: "type", Shape: text, Required: true, Meaning: "What kind of hook it is."}
	timeoutField = Field{Name: "timeout", Shape: u64, JSON: "timeoutSec", Meaning: "How long it may take, in seconds."}
	statusField  = Field{Name: "statusMessage", Shape: text, Meaning: "What the user sees meanwhile."}

	// handlers are the kinds of hooks, told apart by their key "type".
	handlers = []Field{
		{Name: "command", Meaning: "A command.", Shape: tableOf("HookHandlerConfig", typeField,
			needed("command", text, "The command, for a shell."),
			Field{Name: "commandWindows", Shape: text, Aliases: []string{"command_windows"}, Meaning: "The command on Windows."},
			timeoutField,
			Field{Name: "async", Shape: boolean, Default: false, Meaning: "Do not wait for it."},
			statusField,
			field("additionalContextLimit", usize, "How much of what it says reaches the model."))},
		{Name: "mcp_tool", Meaning: "A tool of an MCP server.", Shape: tableOf("HookHandlerConfig", typeField,
			needed("server", text, "The MCP server."),
			needed("tool", text, "The tool."),
			Field{Name: "input", Shape: &Shape{Form: Map, Item: &Shape{Form: Any}}, Default: map[string]any{}, Meaning: "What the tool is given."},
			timeoutField, statusField)},
		{Name: "prompt", Meaning: "Kept, but Codex does nothing with it.", Shape: tableOf("HookHandlerConfig", typeField)},
		{Name: "agent", Meaning: "Kept, but Codex does nothing with it.", Shape: tableOf("HookHandlerConfig", typeField)},
	}
	hookGroup = &Shape{Form: Table, Rust: "struct MatcherGroup", Lax: true, Fields: []Field{
		field("matcher", text, "A regular expression for the name of the tool. Left out: every tool."),
		{Name: "hooks", Shape: listOf(&Shape{Form: Tagged, Tag: "type", Rust: "HookHandlerConfig", Variants: handlers}), Default: []any{}, Meaning: "What is run, one after the other."},
	}}

	matchField      = needed("match", text, "How it is compared.")
	argumentMatcher = &Shape{Form: Tagged, Tag: "match", Rust: "McpServerValueMatcher", Variants: []Field{
		{Name: "exact", Meaning: "Equal to value.", Shape: closed("McpServerValueMatcher", matchField, needed("value", text, "The value."))},
		{Name: "prefix", Meaning: "Begins with value.", Shape: closed("McpServerValueMatcher", matchField, needed("value", text, "How it begins."))},
		{Name: "regex", Meaning: "The whole of it matches expression.", Shape: closed("McpServerValueMatcher", matchField, needed("expression", text, "A regular expression for the whole value."))},
	}}
	identity = &Shape{Form: OneOf, Rust: "RawMcpServerIdentity", Variants: []Field{
		{Name: "command", Shape: tableOf("McpServerIdentityCommand", needed("command", &Shape{Form: OneOf, Rust: "RawMcpServerCommandMatcher", Variants: []Field{
			{Name: "text", Shape: text},
			{Name: "table", Shape: closed("McpServerCommandMatcher",
				needed("executable", text, "The program, exactly."),
				needed("args", listOf(argumentMatcher), "One matcher for each argument, in order."))},
		}}, "The program of a server on this machine: exactly this text, or { executable, args }."))},
		{Name: "url", Shape: tableOf("McpServerIdentityUrl", needed("url", &Shape{Form: OneOf, Rust: "RawMcpServerUrlMatcher", Variants: []Field{
			{Name: "text", Shape: text},
			{Name: "matcher", Shape: argumentMatcher},
		}}, "The URL of a remote server: exactly this text, or a matcher."))},
	}}
	serverRequirement = tableOf("RawMcpServerRequirement", needed("identity", identity, "What the server must be, besides its name."))
)

func hooksShape() *Shape {
	s := &Shape{Form: Table, Rust: "struct ManagedHooksRequirementsToml", Fields: []Field{
		field("managed_dir", rawPath, "Where the programs of the hooks are, on Unix. Two layers must not say different things."),
		field("windows_managed_dir", rawPath, "Where the programs of the hooks are, on Windows."),
	}}
	for _, e := range Events {
		s.Fields = append(s.Fields, Field{Name: e, JSON: e, Unnamed: true, Shape: listOf(hookGroup), Default: []any{}, Meaning: "Hooks for this event."})
	}
	return s
}

var toolKeys = []Key{
	{
		Field: Field{
			Name: "rules", Shape: rulesShape, JSON: "-",
			Meaning: "Rules for commands: what needs an approval and what is forbidden.",
		},
		Enforced: ByBoth,
		Merge:    "the rules of all layers; the strictest that matches decides",
		Example:  "[rules]\nprefix_rules = [\n  { pattern = [{ token = \"git\" }, { token = \"push\" }], decision = \"forbidden\", justification = \"CI does that.\" },\n]\n",
	},
	{
		Field: Field{
			Name: "features", Aliases: []string{"feature_requirements"}, JSON: "featureRequirements",
			Shape:   &Shape{Form: Map, Item: boolean, Rust: "struct FeatureRequirementsInput", Flat: true},
			Meaning: "Features of Codex that are pinned on or off. Names that Codex does not know are kept.",
		},
		Example: "[features]\nhooks = true\n",
	},
	{
		Field: Field{
			Name: "hooks", Shape: hooksShape(), JSON: "hooks",
			Meaning: "Hooks that run on every machine, whatever the user trusts.",
		},
		Merge:   "the hooks of all layers, the highest layer's first; managed_dir must be the same in every layer that has it",
		Example: "[hooks]\nmanaged_dir = \"/opt/hooks\"\n\n[[hooks.PreToolUse]]\nmatcher = \"^Bash$\"\n\n[[hooks.PreToolUse.hooks]]\ntype = \"command\"\ncommand = \"/opt/hooks/check\"\ntimeout = 5\n",
	},
	{
		Field: Field{
			Name: "allow_managed_hooks_only", Shape: boolean, JSON: "allowManagedHooksOnly",
			Meaning: "Skip the hooks of users, projects and plugins.",
		},
		Example: "allow_managed_hooks_only = true\n",
	},
	{
		Field: Field{
			Name: "mcp_servers", Shape: mapOf(serverRequirement), JSON: "-",
			Meaning: "The only MCP servers that may be used: name and identity must both match. The table being there, even empty, makes it a list of all that is allowed.",
		},
		Example: "[mcp_servers.docs]\nidentity = { url = \"https://mcp.example.com/docs\" }\n\n[mcp_servers.index.identity]\n" +
			"command = { executable = \"/opt/mcp/index\", args = [{ match = \"exact\", value = \"serve\" }] }\n",
	},
	{
		Field: Field{
			Name: "plugins", JSON: "-", Shape: mapOf(tableOf("PluginMcpRequirements",
				field("mcp_servers", mapOf(serverRequirement), "The only MCP servers the plugin may bring."))),
			Meaning: "The only MCP servers that plugins may bring, by plugin.",
		},
		Example: "[plugins.acme.mcp_servers.docs]\nidentity = { command = \"acme-docs\" }\n",
	},
	{
		Field: Field{
			Name: "marketplaces", JSON: "-", Shape: closed("MarketplaceRequirementsToml",
				field("restrict_to_allowed_sources", boolean, "Plugins may come from allowed_sources only."),
				field("allowed_sources", mapOf(closed("MarketplaceAllowedSourceToml",
					field("source", words("git", "host_pattern", "local"), "What kind of source it is."),
					field("url", text, "Of \"git\": the repository."),
					field("ref", text, "Of \"git\": the branch, tag or commit."),
					field("host_pattern", text, "Of \"host_pattern\": a regular expression for the host."),
					field("path", rawPath, "Of \"local\": the directory."))), "Where plugins may come from, by any name.")),
			Meaning: "Where plugins may come from.",
		},
		Example: "[marketplaces]\nrestrict_to_allowed_sources = true\n\n[marketplaces.allowed_sources.ours]\nsource = \"git\"\nurl = \"https://git.example.com/plugins.git\"\n",
	},
	{
		Field: Field{
			Name: "apps", JSON: "-", Shape: &Shape{Form: Map, Flat: true, Rust: "struct AppsRequirementsToml", Item: tableOf("AppRequirementToml",
				field("enabled", boolean, "false switches the app off."),
				field("tools", &Shape{Form: Map, Rust: "struct AppToolsRequirementsToml", Item: tableOf("AppToolRequirementToml",
					field("approval_mode", words("auto", "prompt", "writes", "approve"), "When a person is asked."),
					field("analytics_result_source", closed("AppToolResultSourceRequirementToml",
						needed("format", text, "The format of the result."),
						needed("type", text, "The kind of source.")), "What analytics learn from the result."))}, "The tools of the app, by name."))},
			Meaning: "Apps (connectors), by their id.",
		},
		Merge:   "enabled = false in any layer holds; all else key by key",
		Example: "[apps.gmail]\nenabled = false\n",
	},
}
