"""A contract on Fabric's Python shim, as short as one can be."""

from fabric_chaincode_python.fabric_shim.interfaces import Chaincode
from fabric_chaincode_python.fabric_shim.response import error, success
from fabric_chaincode_python.fabric_shim.server import start


class Notes(Chaincode):
    async def init(self, stub):
        return success(b"")

    async def invoke(self, stub):
        match stub.get_function_and_parameters():
            case "put", [key, text]:
                await stub.put_state(key, text)
                return success(b"")
            case "get", [key]:
                return success(await stub.get_state(key))
        return error("put ID TEXT, or get ID")


if __name__ == "__main__":
    # The package id is in CHAINCODE_ID, the address in CHAINCODE_SERVER_ADDRESS.
    start(Notes)
