"""Where a study, a series, an instance is retrieved (PS3.18 10.1). ``base_url`` has no slash at its end."""


def study_url(base_url: str, study_instance_uid: str) -> str:
    return f"{base_url}/studies/{study_instance_uid}"


def series_url(base_url: str, study_instance_uid: str, series_instance_uid: str) -> str:
    return f"{study_url(base_url, study_instance_uid)}/series/{series_instance_uid}"


def instance_url(
    base_url: str, study_instance_uid: str, series_instance_uid: str, sop_instance_uid: str
) -> str:
    return f"{series_url(base_url, study_instance_uid, series_instance_uid)}/instances/{sop_instance_uid}"
