"""Locations of Vertex AI, and what is at the address of one that does not exist.

The page "Generative AI on Vertex AI locations" and the regions of the SDK google-cloud-aiplatform (stored copies, read
2026-11); africa-south1 and europe-west12 are recalled. The page of an unknown host is as users quote it (promptfoo
#6569, langchain4j #5865).
"""

from starlette.responses import HTMLResponse, Response

LOCATIONS = frozenset(
    f"{area}{number}"
    for area, numbers in {
        "africa-south": (1,),
        "asia-east": (1, 2),
        "asia-northeast": (1, 2, 3),
        "asia-south": (1,),
        "asia-southeast": (1, 2),
        "australia-southeast": (1, 2),
        "europe-central": (2,),
        "europe-north": (1,),
        "europe-southwest": (1,),
        "europe-west": (1, 2, 3, 4, 6, 8, 9, 12),
        "me-central": (1, 2),
        "me-west": (1,),
        "northamerica-northeast": (1, 2),
        "southamerica-east": (1,),
        "southamerica-west": (1,),
        "us-central": (1,),
        "us-east": (1, 4, 5),
        "us-south": (1,),
        "us-west": (1, 2, 3, 4),
    }.items()
    for number in numbers
) | {"eu", "global", "us"}

_PAGE = """<!DOCTYPE html>
<html lang=en>
  <meta charset=utf-8>
  <title>Error 404 (Not Found)!!1</title>
  <p><b>404.</b> <ins>That\u2019s an error.</ins>
  <p>The requested URL was not found on this server. <ins>That\u2019s all we know.</ins>
"""


def no_such_host() -> Response:
    """Google's front end, which knows no service under that name."""
    return HTMLResponse(_PAGE, status_code=404)
