// A contract on Fabric's Node shim, as short as one can be.
'use strict';

const shim = require('fabric-shim');

class Notes {
    async Init() {
        return shim.success();
    }

    async Invoke(stub) {
        const { fcn, params } = stub.getFunctionAndParameters();
        try {
            if (fcn === 'put' && params.length === 2) {
                await stub.putState(params[0], Buffer.from(params[1]));
                return shim.success();
            }
            if (fcn === 'get' && params.length === 1) {
                return shim.success(await stub.getState(params[0]));
            }
            return shim.error('put ID TEXT, or get ID');
        } catch (error) {
            return shim.error(error.message);
        }
    }
}

module.exports = { Notes };

if (require.main === module) {
    shim.server(new Notes(), {
        ccid: process.env.CHAINCODE_ID,
        address: process.env.CHAINCODE_SERVER_ADDRESS,
    }).start();
}
