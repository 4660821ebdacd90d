"""Uploads an exported folder to a hub, with huggingface_hub's own client."""

from __future__ import annotations

import os
from pathlib import Path

from brainformer.search.errors import EnvironmentProblem, InvalidInput
from brainformer.search.export.manifest import check_files, read_manifest

LOG_IN = "set HF_TOKEN, or log in with 'hf auth login'"
ADVICE = {
    401: f"the hub does not know the token; {LOG_IN}",
    403: "the token may not write there; give one with the scope 'write', or another NAME",
    404: "there is no such owner; give NAME as OWNER/MODEL",
    413: "the folder is too large for the hub",
    429: "too many requests; try again later",
}


def push_to_hub(folder: Path, name: str) -> str:
    """Uploads a checked folder as one commit, the model made if it is not there; returns its URL.

    The address comes from HF_ENDPOINT, the token from where huggingface_hub finds it.

    Raises:
        InvalidExport: the folder is not an export, or a file of it was changed.
        InvalidInput: the name cannot be a model's.
        EnvironmentProblem: there is no token, or the hub refuses or cannot be reached; what is
            on the hub is as it was.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    manifest = read_manifest(folder)
    check_files(folder, manifest)
    token = (get_token() or "").strip()
    if not token:
        raise EnvironmentProblem("there is no token for the hub", LOG_IN)
    disable_progress_bars()
    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
    try:
        made = hub.create_repo(name, exist_ok=True)
        hub.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            commit_message=f"Block {manifest.digest[:12]}",
        )
    except HFValidationError as error:
        why = str(error).partition(":")[0]
        raise InvalidInput(f"a model's name is OWNER/MODEL: {why}", name) from None
    except HfHubHTTPError as error:
        raise _refused(error, name) from None
    except Exception as error:
        # The client lets through what its HTTP library raises, which is another in each version.
        if not isinstance(error, OSError) and "HTTPError" not in _bases(error):
            raise
        why = _without(token, str(error)) or type(error).__name__
        raise EnvironmentProblem(
            f"cannot reach the hub at {hub.endpoint}: {why}", "nothing was uploaded; try again"
        ) from None
    return str(made)


def _refused(error: OSError, name: str) -> EnvironmentProblem:
    """Returns what a hub's refusal means; its own words may repeat what was sent, so not these."""
    status = int(getattr(getattr(error, "response", None), "status_code", 0))
    return EnvironmentProblem(
        f"the hub refuses {name} with status {status}",
        ADVICE.get(status, "nothing was committed; try again later"),
    )


def _without(token: str, text: str) -> str:
    return text.replace(token, "***")


def _bases(error: Exception) -> set[str]:
    return {base.__name__ for base in type(error).__mro__}
