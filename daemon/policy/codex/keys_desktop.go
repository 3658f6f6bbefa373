// SPDX-License-Identifier: Apache-2.0

package codex

var originPolicy = tableOf("BrowserUseOriginPolicyToml",
	field("access", access, "Whether pages may be opened."),
	field("downloads", access, "Whether files may be downloaded."),
	field("uploads", access, "Whether files may be uploaded."),
	field("full_cdp_access", access, "Whether the whole debugging protocol may be used."),
	field("auto_review", access, "Whether automatic review may approve."),
	field("persistent_approval", boolean, "Whether an approval may be kept."),
	field("access_approval_lifetime", words("turn", "thread"), "How long an approval holds."))

var desktopKeys = []Key{
	{
		Field: Field{
			Name: "allow_browser_and_computer_use", Shape: boolean, JSON: "allowBrowserAndComputerUse",
			Meaning: "false: agents use neither the browser nor other applications.",
		},
		Example: "allow_browser_and_computer_use = false\n",
	},
	{
		Field:   Field{Name: "allow_appshots", Shape: boolean, JSON: "allowAppshots", Meaning: "false: no pictures of applications."},
		Example: "allow_appshots = false\n",
	},
	{
		Field:   Field{Name: "allow_remote_control", Shape: boolean, JSON: "allowRemoteControl", Meaning: "false: sessions cannot be steered from elsewhere."},
		Example: "allow_remote_control = false\n",
	},
	{
		Field: Field{
			Name: "computer_use", JSON: "computerUse", Shape: tableOf("ComputerUseRequirementsToml",
				field("allow_locked_computer_use", boolean, "Whether agents may go on while the screen is locked."),
				field("allow_persistent_approval", boolean, "Whether an approval may be kept."),
				field("default_app_access", access, "What holds for applications that are not listed."),
				field("macos", tableOf("ComputerUseMacosRequirementsToml", field("bundle_ids", mapOf(access), "Applications by bundle id.")), "Applications on macOS."),
				field("windows", tableOf("ComputerUseWindowsRequirementsToml",
					field("aumids", mapOf(access), "Applications by AppUserModelID."),
					field("exes", &Shape{Form: List, Lax: true, Item: tableOf("ComputerUseWindowsExeRequirementToml",
						needed("publisher_name", text, "Who signed it."),
						needed("product_name", text, "The product."),
						field("binary_name", text, "The name of the program."),
						needed("access", access, "What holds for it."))}, "Applications by who made them.")), "Applications on Windows.")),
			Meaning: "Which other applications agents may use.",
		},
		Example: "[computer_use]\ndefault_app_access = \"deny\"\n\n[computer_use.macos.bundle_ids]\n\"com.apple.Preview\" = \"allow\"\n",
	},
	{
		Field: Field{
			Name: "browser_use", JSON: "browserUse", Shape: tableOf("BrowserUseRequirementsToml",
				field("extension", tableOf("BrowserUseExtensionRequirementsToml",
					field("request_headers", listOf(closed("RequestHeaderToml",
						needed("name", text, "The name."), needed("value", text, "The value."))), "Headers added to requests.")), "The browser extension."),
				field("allow_webmcp", boolean, "Whether pages may offer tools."),
				field("allow_history_access", boolean, "Whether the history may be read."),
				field("disable_auto_review", boolean, "No automatic review in the browser."),
				field("allow_global_persistent_approval", boolean, "Whether one approval may hold for every page."),
				field("default_origin_policy", originPolicy, "What holds for origins that are not listed."),
				field("origins", mapOf(originPolicy), "What holds for an origin.")),
			Meaning: "What agents may do in the browser.",
		},
		Example: "[browser_use.default_origin_policy]\naccess = \"deny\"\n\n[browser_use.origins.\"https://intranet.example.com\"]\naccess = \"allow\"\n",
	},
	{
		Field: Field{
			Name: "in_app_browser", JSON: "inAppBrowser", Shape: tableOf("InAppBrowserRequirementsToml",
				field("allow_external_browser_settings_import", boolean, "Whether settings may be taken from another browser.")),
			Meaning: "The browser inside the desktop app.",
		},
		Example: "[in_app_browser]\nallow_external_browser_settings_import = false\n",
	},
	{
		Field: Field{
			Name: "windows", JSON: "-", Shape: tableOf("WindowsRequirementsToml",
				field("allowed_sandbox_implementations", &Shape{Form: List, Item: words("elevated", "unelevated"), MinItems: 1}, "Which sandboxes may be used on Windows. Cannot be empty."),
				field("require_mxc", boolean, "Requires the MXC sandbox."),
				field("sandbox_private_desktop", &Shape{Form: Any, Ignored: true}, "Kept; Codex 0.169 no longer uses it.")),
			Meaning: "The sandbox on Windows.",
		},
		Example: "[windows]\nallowed_sandbox_implementations = [\"elevated\"]\n",
	},
}
