"""What openapi-python-client made of the document: /data as its models. The argument is the URL."""

import json
import sys

from generated import Client
from generated.api.default import data_data_get

client = Client(base_url=sys.argv[1])
answer = data_data_get.sync(client=client, count=3, interval=0)
print(json.dumps([item.to_dict() for item in answer.data]))
