"""A command that runs another program: what is for that program stays as it is, its `--` and its `--name` too."""

from __future__ import annotations

import click


class Passing(click.Command):
    """Options of its own come first. From the first word that is none of them, or the first `--`, all is the program's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        takes_value = {name: not option.is_flag for option in self._options(ctx) for name in option.opts}
        at = 0
        while at < len(args) and args[at].partition("=")[0] in takes_value:
            name, equals, _ = args[at].partition("=")
            at += 2 if takes_value[name] and not equals else 1
        rest = args[at + 1 :] if args[at : at + 1] == ["--"] else args[at:]
        return super().parse_args(ctx, [*args[:at], "--", *rest])

    def _options(self, ctx: click.Context) -> list[click.Option]:
        return [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
