"""The settings as a Dagster resource: texts only, which a run parses in one place before its first request."""

from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import ConfigDict, Field, PrivateAttr, create_model

from .failures import EXPECTED_ERRORS, failure
from .steps.settings import SETTINGS

if TYPE_CHECKING:
    from .steps.run_context import RunContext

    _SettingTexts = dg.ConfigurableResource[None]
else:
    _SettingTexts = create_model(
        "_SettingTexts",
        __base__=dg.ConfigurableResource,
        **{
            setting.name.lower(): (str, Field(default="", description=setting.help, repr=not setting.is_secret))
            for setting in SETTINGS
        },
    )


class Archive(_SettingTexts):
    """One account of KrosAI and one archive in S3.

    Each field is the setting of the same name in lower case. `unknown_names` has names only, with spaces between them.
    """

    unknown_names: str = Field(
        default="", description="Names in the environment that look like a setting's and are none: they are refused."
    )

    model_config = ConfigDict(hide_input_in_errors=True)  # pydantic's errors would show a secret

    _ctx: "RunContext | None" = PrivateAttr(default=None)

    def texts(self) -> dict[str, str]:
        """Return the text of each setting, by the setting's name. An unknown name has a text that is not its own."""
        unknown = dict.fromkeys(self.unknown_names.split(), "(not read)")
        return {setting.name: getattr(self, setting.name.lower()) for setting in SETTINGS} | unknown

    def open(self, context: Any) -> "RunContext":
        """Open the clients of this run, once. Raises `dg.Failure` with a sentence for every bad setting."""
        if self._ctx is None:
            from .steps.run_context import open_run_context

            try:
                self._ctx = open_run_context(self.texts())
            except EXPECTED_ERRORS as error:
                raise failure(error) from None
        self._ctx.log = context.log
        if getattr(context, "run", None) is not None:  # a schedule has none
            self._ctx.run_id = context.run.run_id
        return self._ctx

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close what the run opened."""
        if self._ctx is not None:
            self._ctx.close()
            self._ctx = None
