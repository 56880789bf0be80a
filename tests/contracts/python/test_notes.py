import unittest

from notes import Notes


class Memory:
    """A stub whose state is a dictionary."""

    def __init__(self, state, *call):
        self.state, self.call = state, call

    def get_function_and_parameters(self):
        return self.call[0], list(self.call[1:])

    async def get_state(self, key):
        return self.state.get(key, b"")

    async def put_state(self, key, value):
        self.state[key] = value.encode()


class TestNotes(unittest.IsolatedAsyncioTestCase):
    async def test_notes(self):
        state = {}
        for call, status, answer in [
            (["put", "n1", "milk"], 200, b""),
            (["get", "n1"], 200, b"milk"),
            (["get", "n2"], 200, b""),
            (["put", "n1"], 500, b""),
        ]:
            response = await Notes().invoke(Memory(state, *call))
            self.assertEqual((response.status, response.payload), (status, answer), call)
