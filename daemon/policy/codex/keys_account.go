// SPDX-License-Identifier: Apache-2.0

package codex

var (
	otlpHTTP = tableOf("OtlpHttp",
		needed("endpoint", text, "The URL."),
		Field{Name: "headers", Shape: &Shape{Form: Map, Item: text, Secret: true}, Default: map[string]any{}, Meaning: "Sent with each request."},
		needed("protocol", words("binary", "json"), "How records are encoded."),
		field("tls", tlsShape, "Certificates."))
	otlpGRPC = tableOf("OtlpGrpc",
		needed("endpoint", text, "The URL."),
		Field{Name: "headers", Shape: &Shape{Form: Map, Item: text, Secret: true}, Default: map[string]any{}, Meaning: "Sent with each request."},
		field("tls", tlsShape, "Certificates."))
	tlsShape = tableOf("OtelTlsConfig",
		Field{Name: "ca-certificate", Shape: absPath, JSON: "ca-certificate", Meaning: "Who signs the server's certificate."},
		Field{Name: "client-certificate", Shape: absPath, JSON: "client-certificate", Meaning: "The client's certificate."},
		Field{Name: "client-private-key", Shape: absPath, JSON: "client-private-key", Meaning: "The client's key."})
	exporter = &Shape{Form: Enum, Variants: []Field{
		{Name: "none", Meaning: "Nothing is exported."},
		{Name: "statsig", Meaning: "OpenAI's own."},
		{Name: "otlp-http", Shape: otlpHTTP, Meaning: "OTLP over HTTP."},
		{Name: "otlp-grpc", Shape: otlpGRPC, Meaning: "OTLP over gRPC."},
	}}

	// provider is checked when all layers are merged: a layer may have a part of one.
	provider = tableOf("ModelProviderInfo",
		Field{Name: "name", Shape: text, Default: "", Meaning: "What people call it. Required."},
		field("base_url", text, "The URL of its API."),
		field("model_catalog_url", text, "Where its models are listed."),
		field("env_key", text, "The environment variable with the key."),
		field("env_key_instructions", text, "How people get a key."),
		field("experimental_bearer_token", &Shape{Form: String, Secret: true}, "The key itself."),
		field("auth", tableOf("ModelProviderAuthInfo",
			needed("command", text, "Prints a token."),
			Field{Name: "args", Shape: texts, Default: []any{}, Meaning: "Its arguments."},
			Field{Name: "timeout_ms", Shape: nonzero, Default: 5000, Meaning: "How long it may take, in milliseconds."},
			Field{Name: "refresh_interval_ms", Shape: nonzero, Default: 300000, Meaning: "How often it is run, in milliseconds."},
			field("cwd", absPath, "Where it is run.")), "A command that prints a token."),
		field("gateway_oauth", &Shape{Form: Any, Secret: true, Check: checkGateway}, "OAuth at a gateway."),
		field("aws", tableOf("ModelProviderAwsAuthInfo",
			field("profile", text, "The AWS profile."), field("region", text, "The AWS region."),
			field("credential_export", &Shape{Form: Any, Secret: true}, "Where credentials come from."),
			field("auth_refresh", &Shape{Form: Any, Secret: true}, "How they are renewed.")), "AWS, of Amazon Bedrock only."),
		field("project_id", text, "The project."),
		field("location", text, "The location."),
		field("credential_file", text, "A file with credentials."),
		Field{Name: "wire_api", Shape: &Shape{Form: Enum, Variants: []Field{{Name: "responses"}}}, Default: "responses", Meaning: "The API it speaks."},
		field("capabilities", tableOf("ModelProviderCapabilities",
			field("cyber_access_programs", boolean, "Access programmes."),
			field("external_web_access", boolean, "Web access."),
			field("remote_compaction", &Shape{Form: Any}, "Compaction by the provider.")), "What it can do."),
		field("query_params", textMap, "Added to each URL."),
		field("http_headers", &Shape{Form: Map, Item: text, Secret: true}, "Sent with each request."),
		field("env_http_headers", textMap, "Headers whose values are in environment variables."),
		field("request_max_retries", u64, "How often a request is tried again."),
		field("stream_max_retries", u64, "How often a stream is tried again."),
		field("stream_idle_timeout_ms", u64, "How long a stream may be silent, in milliseconds."),
		field("websocket_connect_timeout_ms", u64, "How long connecting may take, in milliseconds."),
		Field{Name: "requires_openai_auth", Shape: boolean, Default: false, Meaning: "Uses the login of OpenAI."},
		Field{Name: "supports_websockets", Shape: boolean, Default: false, Meaning: "Speaks WebSocket."},
		Field{Name: "supports_standalone_web_search", Shape: boolean, Default: false, Meaning: "Can search the web."})

	httpsURL = &Shape{Form: String}
	oauth    = closed("ConfigServerOAuth",
		needed("authorization_url", httpsURL, "Where people log in."),
		needed("token_url", httpsURL, "Where tokens come from."),
		field("device_authorization_url", httpsURL, "For machines without a browser."),
		needed("client_id", text, "The client."),
		field("resource", text, "The resource."),
		field("scopes", texts, "The scopes."),
		field("redirect_port", u16, "The port of the redirect, not 0."))
)

var accountKeys = []Key{
	{
		Field: Field{
			Name: "allowed_login_methods", Shape: &Shape{Form: List, Item: words("chatgpt", "api"), MinItems: 1}, JSON: "allowedLoginMethods",
			Meaning: "How people may log in. At least one way must be left.",
		},
		LocalOnly: true,
		Example:   "allowed_login_methods = [\"chatgpt\"]\nallowed_chatgpt_workspaces = [\"0f2c6b1e-8f0c-4f7e-9a51-2d6f0f6f1c11\"]\n",
	},
	{
		Field: Field{
			Name: "allowed_chatgpt_workspaces", Shape: texts, JSON: "-",
			Meaning: "Workspaces (their UUIDs) people may log in to. Blank ones do not count; an empty list allows none, and with it no login by ChatGPT.",
		},
		LocalOnly: true,
		Example:   "allowed_chatgpt_workspaces = [\"0f2c6b1e-8f0c-4f7e-9a51-2d6f0f6f1c11\"]\n",
	},
	{
		Field: Field{
			Name: "cli_auth_credentials_store", Shape: words("file", "keyring", "auto", "ephemeral"), JSON: "cliAuthCredentialsStore",
			Meaning: "Where Codex keeps credentials. Users cannot change it.",
		},
		LocalOnly: true,
		Example:   "cli_auth_credentials_store = \"keyring\"\n",
	},
	{
		Field: Field{
			Name: "chatgpt_base_url", Shape: text, JSON: "chatgptBaseUrl",
			Meaning: "The URL of ChatGPT's API. Users cannot change it.",
		},
		LocalOnly: true,
		Example:   "chatgpt_base_url = \"https://chatgpt.com/backend-api/\"\n",
	},
	{
		Field: Field{Name: "config_server", JSON: "-", Shape: &Shape{Form: Table, Rust: "struct ConfigServerInput", Closed: true, Check: checkConfigServer, Fields: []Field{
			needed("base_url", httpsURL, "The https URL the bundle of settings is fetched below."),
			field("oauth", oauth, "How people log in there. Left out: nobody does."),
		}}, Meaning: "A server that hands out further requirements. Codex does not start when it cannot reach it and remembers nothing of it."},
		LocalOnly: true,
		Example:   "[config_server]\nbase_url = \"https://config.example.com/codex\"\n",
	},
	{
		Field: Field{
			Name: "model_provider", Shape: text, JSON: "modelProvider",
			Meaning: "The provider of models, which must be built in or among model_providers. Users cannot change it.",
		},
		Example: "model_provider = \"gateway\"\n\n[model_providers.gateway]\nname = \"Our gateway\"\nbase_url = \"https://llm.example.com/v1\"\nwire_api = \"responses\"\n",
	},
	{
		Field: Field{
			Name: "model_providers", Shape: mapOf(provider), JSON: "modelProviders",
			Meaning: "Providers of models, by any name that is not that of a built-in one. Users cannot change them. Checked when all layers are merged, for a layer may have only a part.",
		},
		Example: "[model_providers.gateway]\nname = \"Our gateway\"\nbase_url = \"https://llm.example.com/v1\"\n",
	},
	{
		Field:   Field{Name: "sqlite_home", Shape: absPath, JSON: "sqliteHome", Meaning: "Where Codex keeps its databases. Users cannot change it."},
		Example: "sqlite_home = \"~/.codex\"\n",
	},
	{
		Field:   Field{Name: "log_dir", Shape: absPath, JSON: "logDir", Meaning: "Where Codex keeps its logs. Users cannot change it."},
		Example: "log_dir = \"~/.codex/log\"\n",
	},
	{
		Field:   Field{Name: "model_catalog_json", Shape: absPath, JSON: "modelCatalogJson", Meaning: "A file that lists models. It must exist. Users cannot change it."},
		Example: "model_catalog_json = \"/opt/codex/models.json\"\n",
	},
	{
		Field: Field{
			Name: "unsafe_enforce_sqlite_journal_mode", Shape: boolean, JSON: "-",
			Meaning: "Forces the journal mode of Codex's databases.",
		},
		Example: "unsafe_enforce_sqlite_journal_mode = true\n",
	},
	{
		Field: Field{
			Name: "check_for_update_on_startup", Shape: boolean, JSON: "checkForUpdateOnStartup",
			Meaning: "Whether Codex looks for a newer version. Users cannot change it.",
		},
		Example: "check_for_update_on_startup = false\n",
	},
	{
		Field: Field{
			Name: "allow_login_shell", Shape: boolean, JSON: "allowLoginShell",
			Meaning: "Whether commands may run in a login shell. Users cannot change it.",
		},
		Example: "allow_login_shell = false\n",
	},
	{
		Field: Field{
			Name: "feedback", Shape: tableOf("FeedbackConfigToml",
				field("enabled", boolean, "Whether people may send feedback.")), JSON: "feedback",
			Meaning: "Feedback to OpenAI.",
		},
		Example: "[feedback]\nenabled = false\n",
	},
	{
		Field: Field{
			Name: "otel", JSON: "otel", Shape: closed("OtelRequirementsToml",
				field("tool_result", tableOf("ToolResultLogConfig", Field{Name: "max_bytes", Shape: usize, Default: 2048, Meaning: "How much of a result is recorded, in bytes."}), "What is recorded of the results of tools."),
				field("log_sse_deltas", boolean, "Record the pieces of answers."),
				field("log_user_prompt", boolean, "Record what people ask."),
				field("log_agent_responses", boolean, "Record what agents answer."),
				field("log_guardian_assessments", boolean, "Record what the automatic reviewer says."),
				field("environment", text, "The name of the environment in every record."),
				field("exporter", exporter, "Where logs go."),
				field("trace_exporter", exporter, "Where traces go."),
				field("metrics_exporter", exporter, "Where metrics go."),
				field("span_attributes", textMap, "Attributes of every span."),
				field("tracestate", mapOf(textMap), "Entries of the trace state, by vendor.")),
			Meaning: "Telemetry that Codex itself sends, which users cannot change.",
		},
		Merge:   "setting by setting, an exporter being one; span_attributes and tracestate key by key",
		Example: "[otel]\nenvironment = \"prod\"\nlog_user_prompt = false\n\n[otel.exporter.otlp-http]\nendpoint = \"http://127.0.0.1:4318/v1/logs\"\nprotocol = \"json\"\n",
	},
}
