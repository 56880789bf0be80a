// A device on its way from the maker to a hospital.

import { msp } from '../../lib/members.mjs';
import { DAY, day, fresh, gtin, now, sha256 } from '../../lib/numbers.mjs';
import { Actor } from './actors.mjs';
import { certifier } from './registry.mjs';

export const maker = {
    regulatory: new Actor('maker', 'regulatory'),
    shipping: new Actor('maker', 'shipping'),
    vigilance: new Actor('maker', 'vigilance'),
};
const expires = day(400);

// A certified product of the maker's, with a lot of which no unit is registered yet.
export class Product {
    di = gtin();
    certNo = fresh('CERT');
    lot = fresh('L');

    async registers() {
        const label = { lot: true, serial: true, expires: true };
        await maker.regulatory.does('devices', 'RegisterProduct', { product: { di: this.di, name: 'Humeral nail', model: 'HN-20', label } });
    }

    async submits() {
        const { di, certNo } = this;
        await maker.regulatory.does('devices', 'SubmitCertification', { di, certNo, type: 'CLASS-III', docHashes: [sha256(fresh('file'))] });
    }

    certification() {
        return { di: this.di, certNo: this.certNo, validTo: now() + 365 * DAY };
    }

    async manufactures(serials) {
        const { di, lot } = this;
        await maker.shipping.does('devices', 'RegisterLot', { di, lot, mfg: day(-30), exp: expires, qty: serials.length });
        await maker.shipping.does('devices', 'RegisterUnits', { di, lot, serials });
    }

    unit(serial) {
        return { di: this.di, lot: this.lot, serial };
    }

    // What is printed on the unit.
    carrier(serial) {
        return `(01)${this.di}(17)${expires.slice(2).replaceAll('-', '')}(10)${this.lot}(21)${serial}`;
    }

    shipment(to, ...serials) {
        return { units: serials.map((serial) => this.unit(serial)), to: msp(to) };
    }

    reception(...serials) {
        return { units: serials.map((serial) => this.unit(serial)), scans: serials.map((serial) => this.carrier(serial)) };
    }
}

// A product whose units are in the stock of an organization.
export async function stocked(org, ...serials) {
    const product = new Product();
    await product.registers();
    await product.submits();
    await certifier.does('devices', 'Certify', product.certification());
    await product.manufactures(serials);
    await maker.shipping.does('devices', 'Ship', product.shipment(org, ...serials));
    await new Actor(org, 'supply').does('devices', 'Receive', product.reception(...serials));
    return product;
}
