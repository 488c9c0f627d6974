"""`tlcli schema`: the JSON Schema of recipes."""

from __future__ import annotations

import click

from tlcli.system import console


@click.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors that complete YAML.

    \b
    Example:
      tlcli schema > tlcli.schema.json
    """
    from tlcli.recipe.recipe import recipe_schema

    console.result_json(recipe_schema())
