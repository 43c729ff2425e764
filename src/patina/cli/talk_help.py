"""What /help says in the plain chat."""

from typing import Final

HELP: Final = """\
/help       this list
/model      the model in use; /model PROVIDER/MODEL changes it
/tools      the tools, which are on, and what they cost; /tools on NAME … and
            /tools off NAME … turn servers, tools (SERVER.TOOL) or globs on and off here
/mcp        the MCP servers and how they are; /mcp restart SERVER starts one afresh;
            /mcp tools, resources or prompts SERVER asks it what it offers;
            /mcp login SERVER signs you in to it, /mcp logout SERVER out of it
/attach     FILE, or SERVER URI: goes with the next message; /detach drops what was attached
/SERVER:PROMPT KEY=VALUE …   send what a server's prompt says; Tab completes it
/new        begin another conversation
/summarise  have the older messages summarised; the model gets that in their place
/retry      have the newest message answered after a failure; /retry call runs the newest
            tool call again that failed of something that may pass
/regenerate have the newest message answered anew, as another branch; a model may follow
/edit TEXT  say the newest message anew, as another branch
/branches   the branches of this conversation; /branch N goes on with one
/title      have the model make a title; /rename TITLE gives one
/cost       what this conversation, today and this month cost, what the next message would,
            and what tools add to it; /cost models WORDS compares models
/limits     the spending limits; /limits set daily 5 changes one
/usage      what was spent, as `patina usage`, with the same options
/draft      send what was kept when it could not be sent
/quit       leave; so does Ctrl+D
//…         a message that begins with /
Ctrl+C interrupts an answer. A line that ends in \\ goes on in the next one."""
