"""`kubernaut audit`: use the trail from a terminal or a script; each command has a module."""

import typer

from kubernaut.cli import _audit_query, _audit_record, _audit_spool, _audit_tail, _audit_verify

app = typer.Typer(
    no_args_is_help=True,
    help="Use the audit trail: find events, follow them, verify their chains, record new ones.",
)
app.command("query", help=_audit_query.HELP)(_audit_query.query)
app.command("tail", help=_audit_tail.HELP)(_audit_tail.tail)
app.command("verify", help=_audit_verify.HELP)(_audit_verify.verify)
app.command("record", help=_audit_record.HELP)(_audit_record.record)
app.add_typer(_audit_spool.app, name="spool")
