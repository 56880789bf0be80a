'use strict';

const { Contract } = require('fabric-contract-api');

// Notes: enough to use every part of the stub that a contract needs daily.
class Notes extends Contract {
    async Put(ctx, id, text) {
        await ctx.stub.putState(id, Buffer.from(text));
        ctx.stub.setEvent('NotePut', Buffer.from(id));
        return ctx.clientIdentity.getMSPID();
    }

    async Get(ctx, id) {
        const bytes = await ctx.stub.getState(id);
        if (bytes.length === 0) throw new Error(`no note ${id}`);
        return bytes.toString();
    }

    async Delete(ctx, id) {
        await ctx.stub.deleteState(id);
    }

    async PutMany(ctx, prefix, count) {
        for (let number = 0; number < Number(count); number += 1) {
            const id = `${prefix}${String(number).padStart(4, '0')}`;
            await ctx.stub.putState(id, Buffer.from(String(number)));
        }
    }

    async CountRange(ctx, start, end) {
        let count = 0;
        for await (const entry of ctx.stub.getStateByRange(start, end)) {
            if (entry.value.length > 0) count += 1;
        }
        return String(count);
    }

    async Page(ctx, start, end, size, bookmark) {
        const { iterator, metadata } = await ctx.stub.getStateByRangeWithPagination(start, end, Number(size), bookmark);
        const keys = [];
        let step = await iterator.next();
        while (!step.done) {
            keys.push(step.value.key);
            step = await iterator.next();
        }
        return JSON.stringify({ keys, bookmark: metadata.bookmark, fetched: metadata.fetchedRecordsCount });
    }

    async Tag(ctx, tag, id) {
        await ctx.stub.putState(ctx.stub.createCompositeKey('tag', [tag, id]), Buffer.from([0]));
    }

    async Tagged(ctx, tag) {
        const ids = [];
        for await (const entry of ctx.stub.getStateByPartialCompositeKey('tag', [tag])) {
            ids.push(ctx.stub.splitCompositeKey(entry.key).attributes[1]);
        }
        return JSON.stringify(ids);
    }

    async History(ctx, id) {
        const changes = [];
        for await (const change of ctx.stub.getHistoryForKey(id)) {
            const { seconds } = change.timestamp;
            changes.push({
                deleted: change.isDelete, value: change.value.toString(), txId: change.txId, seconds: Number(seconds),
            });
        }
        return JSON.stringify(changes);
    }

    async PutMarbles(ctx, marbles) {
        for (const { id, ...marble } of JSON.parse(marbles)) {
            await ctx.stub.putState(id, Buffer.from(JSON.stringify(marble)));
        }
    }

    async Query(ctx, query) {
        const found = [];
        for await (const { key, value } of ctx.stub.getQueryResult(query)) {
            found.push({ key, value: JSON.parse(value.toString()) });
        }
        return JSON.stringify(found);
    }

    async QueryPage(ctx, query, size, bookmark) {
        const { iterator, metadata } = await ctx.stub.getQueryResultWithPagination(query, Number(size), bookmark);
        const keys = [];
        let step = await iterator.next();
        while (!step.done) {
            keys.push(step.value.key);
            step = await iterator.next();
        }
        return JSON.stringify({ keys, bookmark: metadata.bookmark, fetched: metadata.fetchedRecordsCount });
    }

    async QueryPageAndPut(ctx, query) {
        await ctx.stub.getQueryResultWithPagination(query, 1, '');
        await ctx.stub.putState('never', Buffer.from('written'));
    }

    async PutPrivateMarble(ctx, collection, id) {
        await ctx.stub.putPrivateData(collection, id, ctx.stub.getTransient().get('marble'));
    }

    async QueryPrivate(ctx, collection, query) {
        const keys = [];
        for await (const { key } of ctx.stub.getPrivateDataQueryResult(collection, query)) keys.push(key);
        return JSON.stringify(keys);
    }

    async Secret(ctx) {
        const value = ctx.stub.getTransient().get('secret');
        return value ? String(value.length) : 'none';
    }

    async Ask(ctx, chaincode, fn, arg) {
        const response = await ctx.stub.invokeChaincode(chaincode, [fn, arg], '');
        return `${response.status} ${Buffer.from(response.payload).toString()}`;
    }
}

module.exports.contracts = [Notes];
