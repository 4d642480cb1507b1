# frozen_string_literal: true

post 'admin/kura_test', to: 'kura_test#create', as: 'kura_test'
