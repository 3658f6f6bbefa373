// SPDX-License-Identifier: Apache-2.0

package codex

var (
	domainAccess = &Shape{Form: Map, Item: buffered(access), Flat: true, Rust: "struct NetworkDomainPermissionsToml"}
	socketAccess = &Shape{Form: Map, Item: buffered(access), Flat: true, Rust: "struct NetworkUnixSocketPermissionsToml"}

	headerInjection = tableOf("NetworkHeaderInjectionToml",
		needed("host", text, "The host of the requests."),
		needed("methods", texts, "Their methods."),
		needed("path_prefixes", texts, "How their paths begin."),
		needed("headers", &Shape{Form: Map, Item: text, Secret: true}, "The headers that are added."))

	// networkShape is one table under three names.
	networkShape = &Shape{Form: Table, Rust: "struct RawNetworkRequirementsToml", Check: checkNetwork, Fields: []Field{
		field("enabled", boolean, "Starts the managed proxy. It gives no network to a sandbox that has none."),
		field("http_port", u16, "The port of the HTTP proxy."),
		field("socks_port", u16, "The port of the SOCKS proxy."),
		field("allow_upstream_proxy", boolean, "The proxy may use the proxy of the machine."),
		field("dangerously_allow_non_loopback_proxy", boolean, "The proxy may listen on other addresses than loopback."),
		field("dangerously_allow_all_unix_sockets", boolean, "Every unix socket may be reached."),
		field("domains", domainAccess, "Hosts, and what holds for them: exact names, \"*.example.com\" for what is below, \"**.example.com\" for itself and what is below. \"deny\" counts before \"allow\"."),
		field("review_domains", texts, "Hosts that are asked about every time."),
		field("managed_allowed_domains_only", boolean, "What users allow does not count."),
		field("allowed_domains", texts, "The old way to write domains with \"allow\"."),
		field("denied_domains", texts, "The old way to write domains with \"deny\"."),
		field("unix_sockets", socketAccess, "Unix sockets by path, and what holds for them."),
		field("allow_unix_sockets", texts, "The old way to write unix_sockets with \"allow\"."),
		field("allow_local_binding", boolean, "Loopback and private addresses may be reached."),
		field("header_injections", listOf(headerInjection), "Headers the proxy adds to requests."),
	}}
)

var networkKeys = []Key{
	{
		Field: Field{
			Name: "experimental_network", Aliases: []string{"network_proxy"}, JSON: "network", Shape: networkShape,
			Meaning: "The managed network of Codex. It may also be called network_proxy or permissions.network; only one of the three may be used.",
		},
		Enforced: ByBoth,
		Merge:    "what any layer denies is denied, what any reviews is asked about, what one allows is allowed; unix sockets that any denies are refused, and what is allowed of them is Codex's alone, as are header_injections",
		Example:  "[experimental_network]\nenabled = true\nmanaged_allowed_domains_only = true\nreview_domains = [\"pastebin.com\"]\n\n[experimental_network.domains]\n\"**.example.com\" = \"allow\"\n\"old.example.com\" = \"deny\"\n",
	},
	{
		Field: Field{
			Name: "application", JSON: "application", Shape: closed("ApplicationRequirementsToml",
				field("network", &Shape{Form: Table, Rust: "struct ApplicationNetworkRequirementsToml", Closed: true, Check: checkApplicationDomains, Fields: []Field{
					{Name: "enabled", Shape: boolean, Default: true, Meaning: "Restricts what the desktop app itself reaches."},
					{Name: "domains", Shape: mapOf(access), Default: map[string]any{}, Meaning: "Exact host names, and what holds for them."},
				}}, "What the desktop app itself may reach, besides what it must."),
				field("storage", closed("ApplicationStorageRequirementsToml",
					field("default_project_parent", fullPath, "Where new projects are made. Absolute, or below ~/."),
					field("projectless_workspace_root", fullPath, "Where work without a project is kept. Absolute, or below ~/.")), "Where the desktop app keeps things.")),
			Meaning: "What the desktop app itself may do.",
		},
		Example: "[application.network]\nenabled = true\n\n[application.network.domains]\n\"intranet.example.com\" = \"allow\"\n",
	},
}
