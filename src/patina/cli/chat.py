"""`patina chat --plain`: a conversation in the terminal, line by line."""

import sys

import click

from patina.cli.context import context
from patina.model.faults import UsageFault


@click.command()
@click.option("-c", "--continue", "last", is_flag=True, help="Go on with the last conversation.")
@click.option("-r", "--resume", is_flag=True, help="Choose a conversation to go on with.")
@click.option("-s", "--session", metavar="ID", help="Go on with this conversation.")
@click.option("-m", "--model", metavar="PROVIDER/MODEL", help="Which model; :EFFORT may follow.")
@click.option("--approve", metavar="LIST", default="ask", help="As in `patina ask`.")
@click.option("--budget", metavar="USD", help="Send nothing that makes this chat cost more.")
@click.option("--plain", is_flag=True, help="Line by line; the only way in this version.")
@click.pass_context
def chat(
    ctx: click.Context,
    last: bool,
    resume: bool,
    session: str | None,
    model: str | None,
    approve: str,
    budget: str | None,
    plain: bool,
) -> int:
    r"""Chat in the terminal. /help lists what you can type beside messages.

    Where no model is configured and none runs on this machine, the built-in demo answers.

    \b
    Examples:
      patina chat
      patina chat -c
      patina chat -m ollama/llama3.3
      patina chat --budget 0.50
    """
    from msgspec.structs import replace

    from patina.cli.limits import amount_of
    from patina.cli.output import use_color
    from patina.cli.running import open_in_thread, setup_of
    from patina.cli.talk import Talk
    from patina.cli.talk_money import hear_alerts
    from patina.cli.talk_servers import ServerNews
    from patina.model.ids import new_id
    from patina.model.options import TurnOptions

    if sum((last, resume, bool(session))) > 1:
        raise UsageFault("Of --continue, --resume and --session only one can be given.")
    if sys.stdin is None or sys.stdout is None:
        raise UsageFault("A chat needs a terminal.", hint='Use `patina ask "…"` in scripts.')
    run = context(ctx)
    options = TurnOptions(budget=amount_of(budget), run=new_id()) if budget else TurnOptions()
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    dim = terminal and use_color(run.environment.process, sys.stdout)
    news = ServerNews(terminal=terminal, dim=dim)
    setup = replace(setup_of(run, approve), lives_on=terminal, on_notice=news.hear)
    run.open_kept()
    with open_in_thread(setup, model or "") as (portal, app):
        alerts = portal.start_task_soon(hear_alerts, app, news.hear)
        try:
            talk = Talk(portal, app, run, model, news, options)
            talk.choose(last=last, resume=resume, session=session)
            return talk.run()
        finally:
            alerts.cancel()
