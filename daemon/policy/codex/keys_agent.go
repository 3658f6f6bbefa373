// SPDX-License-Identifier: Apache-2.0

package codex

var (
	granular = tableOf("GranularApprovalConfig",
		needed("sandbox_approval", boolean, "Whether the agent may ask to leave the sandbox."),
		needed("rules", boolean, "Whether commands that a rule says to ask about may be asked about."),
		Field{Name: "skill_approval", Shape: boolean, Default: false, Meaning: "Whether skills may ask."},
		Field{Name: "request_permissions", Shape: boolean, Default: false, Meaning: "Whether the agent may ask for further permissions."},
		needed("mcp_elicitations", boolean, "Whether MCP servers may ask."),
	)
	approvalPolicy = &Shape{Form: Enum, Variants: []Field{
		{Name: "untrusted", Meaning: "Ask before every command that no rule allows."},
		{Name: "on-failure", As: "on-request"},
		{Name: "on-request", Meaning: "The agent asks when it wants to leave the sandbox."},
		{Name: "granular", Shape: granular, Meaning: "What may be asked about, one by one; all else is refused."},
		{Name: "never", Meaning: "Never ask; what would need an approval is refused."},
	}}
	reviewer = &Shape{Form: Enum, Variants: []Field{
		{Name: "user", Meaning: "A person answers."},
		{Name: "auto_review", Meaning: "A reviewing model answers."},
		{Name: "guardian_subagent", As: "auto_review"},
	}}
	sandboxMode = words("read-only", "workspace-write", "danger-full-access", "external-sandbox")
	// legacySandboxMode is what sandbox_mode of config.toml may be.
	legacySandboxMode = words("read-only", "workspace-write", "danger-full-access")
	webSearchMode     = words("disabled", "cached", "indexed", "live")

	remoteSandbox = tableOf("RemoteSandboxConfigToml",
		needed("hostname_patterns", texts, "Host names, with * and ?, whatever their case."),
		needed("allowed_sandbox_modes", listOf(sandboxMode), "What is allowed on these hosts in place of the layer's allowed_sandbox_modes."),
	)

	// A profile's file rules are words, or tables of words below a path.
	profileWord   = words("none", "read", "write", "deny")
	profileAccess = &Shape{Form: OneOf, Rust: "FilesystemPermissionToml", Variants: []Field{
		{Name: "access", Shape: profileWord},
		{Name: "below", Shape: mapOf(profileWord)},
	}}
	profile = tableOf("PermissionProfileToml",
		field("description", text, "What the profile is for."),
		field("extends", text, "The profile it begins from, such as \":workspace\"."),
		field("workspace_roots", &Shape{Form: Map, Item: boolean, Rust: "struct WorkspaceRootsToml"}, "Further directories that count as the workspace."),
		field("filesystem", &Shape{Form: Table, Rust: "struct FilesystemPermissionsToml", Rest: profileAccess, Fields: []Field{
			field("glob_scan_max_depth", usize, "How deep patterns are looked for."),
		}}, "What may be read and written, by path."),
		field("network", profileNetwork, "The network of this profile."),
	)
	profileNetwork = tableOf("NetworkToml",
		field("enabled", boolean, "Whether there is a network."),
		field("mode", words("limited", "full"), "limited: requests that only read."),
		field("proxy_url", text, "The HTTP proxy."),
		field("enable_socks5", boolean, "Whether there is a SOCKS proxy."),
		field("socks_url", text, "The SOCKS proxy."),
		field("enable_socks5_udp", boolean, "Whether it also takes UDP."),
		field("allow_upstream_proxy", boolean, "The proxy may use the proxy of the machine."),
		field("dangerously_allow_non_loopback_proxy", boolean, "The proxy may listen on other addresses than loopback."),
		field("dangerously_allow_all_unix_sockets", boolean, "Every unix socket may be reached."),
		field("domains", domainAccess, "Hosts, and what holds for them."),
		field("unix_sockets", domainAccess, "Unix sockets by path, and what holds for them."),
		field("allow_local_binding", boolean, "Loopback and private addresses may be reached."),
		field("mitm", &Shape{Form: Any}, "What is done to requests."))
	permissionsShape = &Shape{Form: Table, Rust: "struct PermissionsRequirementsToml", Rest: profile, Fields: []Field{
		field("filesystem", &Shape{Form: Table, Rust: "struct RawFilesystemRequirementsToml", Check: checkReserved, Fields: []Field{
			field("deny_read", denyRead, "Paths and patterns that may not be read, in no profile. Absolute, or below ~/."),
		}}, "What holds for files in every profile. It cannot be the name of a profile."),
		field("network", &Shape{Form: Table, Fields: networkShape.Fields, Read: readPermissionsNetwork}, "Another name for experimental_network. It cannot be the name of a profile."),
	}}
	denyRead = &Shape{Form: List, Item: &Shape{Form: String, Check: checkDenyRead}}
)

var agentKeys = []Key{
	{
		Field: Field{
			Name: "allowed_approval_policies", Shape: &Shape{Form: List, Item: approvalPolicy, MinItems: 1}, JSON: "allowedApprovalPolicies",
			Meaning: "Which approval policies users may choose. The first one is what holds for who chose another. Cannot be empty.",
		},
		Example: "allowed_approval_policies = [\"on-request\", \"never\"]\n",
	},
	{
		Field: Field{
			Name: "allowed_approvals_reviewers", Shape: &Shape{Form: List, Item: reviewer, MinItems: 1}, JSON: "allowedApprovalsReviewers",
			Meaning: "Who may answer when an agent asks. The first one is what holds for who chose another. Without \"user\" Codex switches its feature guardianv2 off. Cannot be empty.",
		},
		Example: "allowed_approvals_reviewers = [\"user\"]\n",
	},
	{
		Field: Field{
			Name: "auto_review", Shape: tableOf("AutoReviewRequirementsToml",
				field("required_on_models", texts, "Names of models (no provider, no slash) with which automatic review is mandatory."),
				field("ignore_rules", texts, "Rules of the automatic review that do not count.")), JSON: "autoReview",
			Meaning: "Automatic review of what agents ask for.",
		},
		Merge:   "required_on_models of all layers together; ignore_rules of the highest layer that has them",
		Example: "[auto_review]\nrequired_on_models = [\"gpt-large\"]\n",
	},
	{
		Field: Field{
			Name: "guardian_policy_config", Shape: text, JSON: "-",
			Meaning: "The text that the automatic reviewer judges by, in place of the user's. Blank counts as not set.",
		},
		Example: "guardian_policy_config = \"Refuse what touches production.\"\n",
	},
	{
		Field: Field{
			Name: "guardian_extra_policy", Shape: text, JSON: "-",
			Meaning: "Text added to what the automatic reviewer judges by.",
		},
		Example: "guardian_extra_policy = \"Customer data never leaves this machine.\"\n",
	},
	{
		Field: Field{
			Name: "additional_developer_instructions", Shape: text, JSON: "additionalDeveloperInstructions",
			Meaning: "Instructions that every session begins with.",
		},
		Example: "additional_developer_instructions = \"Say so when you are not sure.\"\n",
	},
	{
		Field: Field{
			Name: "allowed_sandbox_modes", Shape: &Shape{Form: List, Item: sandboxMode, MinItems: 1}, JSON: "allowedSandboxModes",
			Meaning: "Which sandbox modes users may choose. \"read-only\" must be among them: it is what holds for who chose another.",
		},
		Example: "allowed_sandbox_modes = [\"read-only\", \"workspace-write\"]\n",
	},
	{
		Field: Field{
			Name: "remote_sandbox_config", Shape: listOf(remoteSandbox), JSON: "-",
			Meaning: "Other allowed_sandbox_modes on hosts with certain names. The first entry that matches counts.",
		},
		Merge: "evaluated inside each layer, before the layers are merged",
		Example: "allowed_sandbox_modes = [\"read-only\"]\n\n[[remote_sandbox_config]]\nhostname_patterns = [\"devbox-*.example.com\"]\n" +
			"allowed_sandbox_modes = [\"read-only\", \"workspace-write\"]\n",
	},
	{
		Field: Field{
			Name: "allowed_permission_profiles", Shape: flags, JSON: "allowedPermissionProfiles",
			Meaning: "Which permission profiles users may choose; what is not listed as true is denied. Names are \":read-only\", \":workspace\", \":danger-full-access\" and those of [permissions].",
		},
		Example: "default_permissions = \":workspace\"\n\n[allowed_permission_profiles]\n\":read-only\" = true\n\":workspace\" = true\n",
	},
	{
		Field: Field{
			Name: "default_permissions", Shape: text, JSON: "defaultPermissions",
			Meaning: "The permission profile sessions begin with. It must be allowed by allowed_permission_profiles; it may be left out only if that allows both \":workspace\" and \":read-only\".",
		},
		Example: "default_permissions = \":read-only\"\n\n[allowed_permission_profiles]\n\":read-only\" = true\n",
	},
	{
		Field: Field{
			Name: "permissions", Shape: permissionsShape, JSON: "-",
			Meaning: "Permission profiles by name, and under two reserved names what holds in every profile: filesystem.deny_read, and network (see experimental_network).",
		},
		Merge:   "filesystem.deny_read of all layers together; all else key by key",
		Example: "[permissions.filesystem]\ndeny_read = [\"~/.ssh\", \"/srv/**/*.pem\"]\n",
	},
	{
		Field: Field{
			Name: "allowed_web_search_modes", Shape: listOf(webSearchMode), JSON: "allowedWebSearchModes",
			Meaning: "Which kinds of web search users may choose. \"disabled\" is always allowed.",
		},
		Example: "allowed_web_search_modes = [\"cached\"]\n",
	},
	{
		Field: Field{
			Name: "models", Shape: tableOf("ModelsRequirementsToml",
				field("new_thread", tableOf("NewThreadModelDefaultsToml",
					field("model", text, "The model."),
					field("model_reasoning_effort", &Shape{Form: String, Check: checkEffort}, "How hard it thinks."),
					field("service_tier", text, "The service tier.")), "What new threads begin with.")), JSON: "models",
			Meaning: "What new threads begin with, if the user chose nothing.",
		},
		Example: "[models.new_thread]\nmodel_reasoning_effort = \"high\"\n",
	},
	{
		Field: Field{
			Name: "enforce_residency", Shape: words("us"), JSON: "enforceResidency",
			Meaning: "Where requests must be processed.",
		},
		Example: "enforce_residency = \"us\"\n",
	},
}
