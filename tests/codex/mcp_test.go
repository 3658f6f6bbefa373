// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// serveMCP as the only argument makes this test's program an MCP server.
const serveMCP = "mcp-server"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == serveMCP {
		if err := mcpServer(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// mcpServer speaks the Model Context Protocol over stdio, one JSON-RPC message a line, as much of it as Codex 0.169.0
// needs. Its one tool, fetch, has curl fetch a URL: what a server does is no tool call's child.
func mcpServer(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var request struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params struct {
				Arguments struct {
					URL string `json:"url"`
				} `json:"arguments"`
			} `json:"params"`
		}
		if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}
		if request.ID == nil {
			continue // a notification
		}
		answer := map[string]any{"jsonrpc": "2.0", "id": request.ID}
		switch request.Method {
		case "initialize":
			answer["result"] = map[string]any{
				"protocolVersion": "2025-06-18", "capabilities": map[string]any{"tools": map[string]any{}},
				"serverInfo": map[string]any{"name": "tracker", "version": "1"},
			}
		case "tools/list":
			answer["result"] = map[string]any{"tools": []any{map[string]any{
				"name": "fetch", "description": "Fetches a URL.",
				"inputSchema": map[string]any{
					"type": "object", "properties": map[string]any{"url": map[string]any{"type": "string"}}, "required": []string{"url"},
				},
				"annotations": map[string]any{"readOnlyHint": true, "openWorldHint": false},
			}}}
		case "tools/call":
			text, err := exec.Command("curl", "-sS", "-m", "60", request.Params.Arguments.URL).CombinedOutput()
			answer["result"] = map[string]any{
				"content": []any{map[string]any{"type": "text", "text": string(text)}}, "isError": err != nil,
			}
		default:
			answer["error"] = map[string]any{"code": -32601, "message": "there is no " + request.Method}
		}
		if err := json.NewEncoder(out).Encode(answer); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
	return lines.Err()
}
