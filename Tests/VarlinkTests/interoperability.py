"""Talks to a Varlink service with the PyPI package `varlink`, which this project did not write.

    interoperability.py parse FILE...       read interface definitions; fails on the first that is none
    interoperability.py introspect ADDRESS  print what GetInfo says and parse all definitions
    interoperability.py talk ADDRESS        call org.example.Test; see InteroperabilityTests.swift for what is expected
"""

import json
import sys

import varlink


def parse(paths):
    for path in paths:
        with open(path, encoding="utf-8") as file:
            interface = varlink.Interface(file.read())
        print(interface.name, *sorted(interface.members))


def introspect(address):
    with varlink.Client(address=address) as client:
        client.get_interfaces()
        info = client.info
        print(json.dumps(info, sort_keys=True))
        for name in info["interfaces"]:
            print(name, *sorted(client.get_interface(name).members))


def talk(address):
    with varlink.Client(address=address) as client, client.open("org.example.Test") as test:
        print("echo", test.Echo("gr\u00fc\u00dfe \u0000 \U0001f999")["text"] == "gr\u00fc\u00dfe \u0000 \U0001f999")
        print("slots", test.Slots([{"id": "a", "slots": 2}, {"id": "b", "slots": 3}])["number"])
        print("count", [reply["number"] for reply in test.Count(4, _more=True)])
        test.Note("noted", _oneway=True)
        for method in (
            lambda: test.Refuse("no"),
            lambda: test.Forbidden(),
            lambda: test.Count(3),
            lambda: test.Drop(),
            lambda: list(test.Count(0, _more=True)),
        ):
            try:
                method()
                print("no error")
            except varlink.VarlinkError as error:
                print(error.error(), json.dumps(error.parameters(), sort_keys=True))
        print("again", test.Echo("again")["text"])


if __name__ == "__main__":
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "parse":
        parse(arguments)
    elif command == "introspect":
        introspect(*arguments)
    elif command == "talk":
        talk(*arguments)
    else:
        sys.exit(__doc__)
