"""A function that knows nothing of Bantam: the templates put the layer beside it."""


def handler(event, context):
    return {"hello": "world"}
